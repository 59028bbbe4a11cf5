use proptest::prelude::*;

use super::{Template, TemplateError, first_match};

fn template(text: &str) -> Template {
    Template::parse(text).unwrap()
}

#[test]
fn matches_whole_segments() {
    let stock = template("/api/magasins/{id}/stock");
    assert!(stock.matches(b"/api/magasins/12/stock"));
    assert!(stock.matches(b"/api/magasins/\xff%20/stock"));
    for path in [
        "/api/magasins//stock",
        "/api/magasins/12/stock/",
        "/api/magasins/12/stocks",
        "/api/magasins/12",
        "/api/magasins/1/2/stock",
        "api/magasins/12/stock",
        "",
    ] {
        assert!(!stock.matches(path.as_bytes()), "{path}");
    }
    assert_eq!(stock.as_str(), "/api/magasins/{id}/stock");
}

#[test]
fn root_and_trailing_slash_are_exact() {
    assert!(template("/").matches(b"/"));
    assert!(!template("/").matches(b"//"));
    assert!(!template("/").matches(b"/a"));
    assert!(template("/a/").matches(b"/a/"));
    assert!(!template("/a/").matches(b"/a"));
    assert!(!template("/{id}").matches(b"/"));
}

#[test]
fn list_order_decides() {
    let list = [template("/u/{id}"), template("/u/me")];
    assert_eq!(first_match(&list, b"/u/me").map(Template::as_str), Some("/u/{id}"));
    assert_eq!(first_match(&list, b"/x"), None);
}

#[test]
fn refuses_bad_templates() {
    use TemplateError::*;
    for (text, error) in [
        ("", NoLeadingSlash),
        ("api", NoLeadingSlash),
        ("/a?b=1", QueryOrFragment),
        ("/a#b", QueryOrFragment),
        ("/a b", Blank),
        ("/a\n", Blank),
        ("/a/*", Wildcard),
        ("/a/{rest...}", Wildcard),
        ("/a//b", EmptySegment),
        ("//", EmptySegment),
        ("/a/{}", EmptyName),
        ("/a/{id:int}", BadName),
        ("/a/v{id}", PartialSegment),
        ("/a/{id}x", PartialSegment),
        ("/a/{a}{b}", PartialSegment),
        ("/a/{id", PartialSegment),
        ("/a/id}", PartialSegment),
    ] {
        let got = Template::parse(text);
        assert_eq!(got, Err(error), "{text:?}");
        let line = error.to_string();
        assert!(!line.contains('\n') && line.starts_with(char::is_lowercase));
    }
}

/// A template and a path made from it.
fn pair() -> impl Strategy<Value = (String, String)> {
    let literal = "[a-z0-9._~%é-]{1,8}".prop_map(|s| (s.clone(), s));
    let parameter = ("[a-z_][a-z0-9_]{0,5}", "[^/\0]{1,10}").prop_map(|(name, value)| (format!("{{{name}}}"), value));
    let segment = prop_oneof![literal, parameter];
    (prop::collection::vec(segment, 0..6), any::<bool>()).prop_map(|(segments, slash)| {
        let mut text = String::new();
        let mut path = String::new();
        for (left, right) in &segments {
            text.push('/');
            text.push_str(left);
            path.push('/');
            path.push_str(right);
        }
        if slash || segments.is_empty() {
            text.push('/');
            path.push('/');
        }
        (text, path)
    })
}

proptest! {
    #[test]
    fn a_path_made_from_a_template_matches((text, path) in pair()) {
        let template = Template::parse(&text).unwrap();
        prop_assert!(template.matches(path.as_bytes()));
        prop_assert_eq!(template.as_str(), text);
    }

    #[test]
    fn another_number_of_segments_never_matches((text, path) in pair(), extra in "[a-z]{0,4}") {
        let template = Template::parse(&text).unwrap();
        let longer = format!("{path}/{extra}");
        prop_assert!(!template.matches(longer.as_bytes()));
        let prefixed = format!("/{extra}{path}");
        prop_assert!(!template.matches(prefixed.as_bytes()));
    }

    #[test]
    fn never_panics(text in any::<String>(), path in any::<Vec<u8>>()) {
        if let Ok(template) = Template::parse(&text) {
            let _ = template.matches(&path);
        }
    }

    #[test]
    fn braced_text_never_panics(text in "/[/{}a*?.]{0,12}", path in "/[/a]{0,12}") {
        if let Ok(template) = Template::parse(&text) {
            let _ = template.matches(path.as_bytes());
        }
    }
}
