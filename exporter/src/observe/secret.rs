//! Segments of a path that may be secrets: they are no names of routes, and must not become labels.
//!
//! The kernel side tells what looks like an identifier by a rule that costs it next to nothing ([`vigie_ebpf::segment`]). What is told here
//! takes more looking, and happens once for each new path.

/// Words whose next segment is one person's, or one letter's.
const BEFORE: [&str; 20] = [
    "activate",
    "activation",
    "api-key",
    "apikey",
    "code",
    "confirm",
    "confirmation",
    "invitation",
    "invite",
    "key",
    "magic-link",
    "otp",
    "reset",
    "reset-password",
    "secret",
    "share",
    "token",
    "unsubscribe",
    "verification",
    "verify",
];

/// How long a secret is at the least.
const LEAST: usize = 6;

/// How often letters and digits take turns in a secret: `s3cr3t` has four changes, `oauth2callback` two.
const CHANGES: usize = 3;

/// Whether a segment may be a secret, behind this one.
pub fn may_be(segment: &[u8], before: &[u8]) -> bool {
    let is_mixed = segment.iter().any(u8::is_ascii_digit) && segment.iter().any(u8::is_ascii_alphabetic);
    if !is_mixed || segment.len() < LEAST {
        return false;
    }
    let mut parts = segment.split(|byte| !byte.is_ascii_alphanumeric());
    BEFORE.iter().any(|word| before.eq_ignore_ascii_case(word.as_bytes())) || parts.any(is_scrambled)
}

/// Whether letters and digits take turns too often for a word with a number.
fn is_scrambled(part: &[u8]) -> bool {
    let pairs = part.windows(2);
    let changes = pairs.filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit());
    part.len() >= LEAST && changes.count() >= CHANGES && !is_version(part)
}

/// `v2beta1`, as Kubernetes numbers its interfaces.
fn is_version(part: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let Some(rest) = part.strip_prefix(b"v") else {
        return false;
    };
    let rest = &rest[digits(rest)..];
    let stages: [&[u8]; 4] = [b"alpha", b"beta", b"rc", b"p"];
    let behind = stages.iter().find_map(|stage| rest.strip_prefix(*stage));
    behind.is_some_and(|number| digits(number) == number.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_told_from_names() {
        for (segment, before) in [
            ("s3cr3t-1", "token"),
            ("s3cr3t-1", "orders"),
            ("a1b2c3", "orders"),
            ("x7Gk2p", "s"),
            ("4F2K-9XQ1Z7", "gift"),
            ("hunter2", "reset"),
            ("Tr0ub4dor", "unlock"),
            ("abc123", "Verify"),
            ("K8F3QZ", "invite"),
        ] {
            assert!(may_be(segment.as_bytes(), before.as_bytes()), "{segment}");
        }
        for (segment, before) in [
            ("v2beta1", "autoscaling"),
            ("v1alpha1", "apis"),
            ("v2", "token"),
            ("oauth2", "auth"),
            ("oauth2callback", "auth"),
            ("oauth2-redirect", "docs"),
            ("base64", "encode"),
            ("page2", "news"),
            ("x86_64", "pool"),
            ("i18next", "assets"),
            ("2fa_setup", "account"),
            ("jquery-3.6.0.min.js", "js"),
            ("order-history-2026", "reports"),
            ("password", "reset"),
            ("request", "token"),
            ("mp3", "share"),
            ("", "token"),
        ] {
            assert!(!may_be(segment.as_bytes(), before.as_bytes()), "{segment}");
        }
    }
}
