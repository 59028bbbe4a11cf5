//! Which segments of a path are values: what the package `url-value-parser` takes for one, by default.
//!
//! Vigie's own rules come first, and in most cases they agree. These say it of the segments that are left.

/// How many digits a hexadecimal value has at the least.
const HEXADECIMAL: usize = 7;
/// How long a token is at the least.
const TOKEN: usize = 66;
/// The lengths of the groups of a UUID.
const UUID: [usize; 5] = [8, 4, 4, 4, 12];
/// How long the three parts of a JSON web token are at the least.
const WEB_TOKEN: [usize; 3] = [18, 3, 39];

/// Whether a segment is one.
pub(super) fn is_value(segment: &str) -> bool {
    is_number(segment)
        || is_date(segment)
        || is_uuid(segment)
        || (segment.len() >= HEXADECIMAL && is_hexadecimal(segment))
        || is_web_token(segment)
        || (segment.len() >= TOKEN && is_token(segment))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Letters of one case.
fn is_hexadecimal(text: &str) -> bool {
    let all = |letters: std::ops::RangeInclusive<u8>| {
        text.bytes()
            .all(|byte| byte.is_ascii_digit() || letters.contains(&byte))
    };
    all(b'a'..=b'f') || all(b'A'..=b'F')
}

fn is_token(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

fn is_number(segment: &str) -> bool {
    is_digits(segment.strip_prefix('-').unwrap_or(segment))
}

fn is_date(segment: &str) -> bool {
    let parts: Vec<&str> = segment.split('-').collect();
    matches!(parts[..], [year, month, day] if [2, 4].contains(&year.len()) && month.len() == 2 && day.len() == 2)
        && parts.into_iter().all(is_digits)
}

fn is_uuid(segment: &str) -> bool {
    let joined: String = segment.split('-').collect();
    segment.split('-').map(str::len).eq(UUID) && is_hexadecimal(&joined)
}

fn is_web_token(segment: &str) -> bool {
    let parts: Vec<&str> = segment.split('.').collect();
    parts.len() == WEB_TOKEN.len()
        && parts
            .into_iter()
            .zip(WEB_TOKEN)
            .all(|(part, least)| part.len() >= least && is_token(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_package() {
        let web_token = format!("{}.{}.{}", "a".repeat(18), "bcd", "e_-".repeat(13));
        let token = "aB-_".repeat(17);
        for value in [
            "1",
            "-5",
            "007",
            "2024-01-02",
            "24-01-02",
            "123e4567-e89b-12d3-a456-426614174000",
            "123E4567-E89B-12D3-A456-426614174000",
            "abcdefa",
            "ABCDEF0",
            &web_token,
            &token,
        ] {
            assert!(is_value(value), "{value}");
        }
        for word in [
            "",
            "-",
            "1.5",
            "items",
            "abcdef",
            "abcdeFA",
            "202-01-02",
            "2024-1-02",
            "123e4567-E89B-12d3-a456-426614174000",
            "123e4567-e89b-12d3-a456",
            &web_token[1..],
            &token[3..],
            "+5",
        ] {
            assert!(!is_value(word), "{word}");
        }
    }
}
