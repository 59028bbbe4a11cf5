use proptest::prelude::*;

use super::{Template, TemplateError, find, tell_values};

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
    let found = |path: &str| find(&list, path.as_bytes(), false).template.map(Template::as_str);
    assert_eq!(found("/u/me"), Some("/u/{id}"));
    assert_eq!(found("/x"), None);
}

/// Each form, with paths that it matches and paths that it does not.
#[test]
fn forms_of_frameworks() {
    for (text, matching, others) in [
        // One segment: Starlette, Express, Flask and Django, Next.
        (
            "/u/{name}",
            &["/u/ada", "/u/17"][..],
            &["/u/", "/u", "/u/a/b", "/u/ada/"][..],
        ),
        ("/u/:name", &["/u/ada", "/u/17"], &["/u/", "/u", "/u/a/b", "/u/ada/"]),
        ("/u/<name>", &["/u/ada", "/u/17"], &["/u/", "/u", "/u/a/b", "/u/ada/"]),
        ("/u/[name]", &["/u/ada", "/u/17"], &["/u/", "/u", "/u/a/b", "/u/ada/"]),
        ("/u/:id/x", &["/u/1/x"], &["/u/1/y", "/u//x"]),
        // Types.
        (
            "/u/<int:id>",
            &["/u/17", "/u/007"],
            &["/u/ada", "/u/-1", "/u/1.5", "/u/17x", "/u/"],
        ),
        ("/u/{id:int}", &["/u/17"], &["/u/ada"]),
        ("/u/{x:float}", &["/u/1.5", "/u/2"], &["/u/1.", "/u/x", "/u/1.2.3"]),
        ("/u/<slug:s>", &["/u/a-b_C9"], &["/u/a.b", "/u/caf%C3%A9"]),
        ("/u/<str:s>", &["/u/a.b"], &["/u/"]),
        ("/u/<string:s>", &["/u/a.b"], &["/u/"]),
        (
            "/u/{id:uuid}",
            &["/u/123e4567-e89b-12d3-a456-426614174000"],
            &["/u/123e4567e89b12d3a456426614174000", "/u/17"],
        ),
        // A part of a segment.
        ("/@{user}", &["/@ada", "/@a@b"], &["/@", "/ada", "/x@ada", "/@ada/x"]),
        ("/@:user", &["/@ada"], &["/@", "/ada"]),
        (
            "/{id}.json",
            &["/17.json", "/a.b.json"],
            &["/.json", "/17.jsonx", "/17xjson", "/17"],
        ),
        ("/v{version}/x", &["/v1/x", "/v2.1/x"], &["/v/x", "/1/x", "/v1/y"]),
        ("/v<int:version>/x", &["/v1/x"], &["/vb/x"]),
        ("/:from-:to", &["/a-b", "/a-b-c"], &["/ab", "/-b", "/a-"]),
        ("/{a}-{b}.{c}", &["/1-2.x", "/1-2.3-4.5"], &["/1-2", "/-.", "/1.2-3"]),
        ("/:id.json", &["/17.json"], &["/.json"]),
        // A colon behind a word is one.
        ("/items:copy", &["/items:copy"], &["/itemsx"]),
        ("/items/{id}:copy", &["/items/17:copy"], &["/items/17", "/items/:copy"]),
        // All that is left.
        ("/f/*", &["/f/a", "/f/a/b", "/f/"], &["/f", "/g/a"]),
        (
            "/f/{path:path}",
            &["/f/a", "/f/a/b", "/f/", "/f/a/"],
            &["/f", "/g/a", "/"],
        ),
        ("/f/{path...}", &["/f/a/b", "/f/"], &["/f"]),
        ("/f/*path", &["/f/a", "/f/a/b", "/f//"], &["/f/", "/f"]),
        ("/f/{*path}", &["/f/a/b"], &["/f/", "/f"]),
        ("/f/<path:p>", &["/f/a/b"], &["/f/", "/f"]),
        ("/f/[...p]", &["/f/a/b"], &["/f/", "/f"]),
        ("/{a}/v{b}/*", &["/x/v1/y/z"], &["/x/1/y"]),
        ("/*", &["/", "/a", "/a/b"], &["", "a", "*"]),
        // What clients percent-encode.
        ("/caf\u{e9}", &["/caf\u{e9}", "/caf%C3%A9"], &["/cafe"]),
        ("/\u{e9}{id}", &["/%C3%A9t", "/\u{e9}t"], &["/et"]),
    ] {
        let parsed = Template::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        for path in matching {
            assert!(parsed.matches(path.as_bytes()), "{text} {path}");
        }
        for path in others {
            assert!(!parsed.matches(path.as_bytes()), "{text} {path}");
        }
        assert_eq!(parsed.as_str(), text);
    }
}

/// Whether what is found holds for all paths of a shape.
#[test]
fn what_depends_on_identifiers() {
    let list = [
        "/u/0",
        "/u/{id}",
        "/f/{n:int}",
        "/@{user}",
        "/{id}.json",
        "/s/{name}/*",
        "/caf\u{e9}",
    ]
    .map(template);
    for (path, expected, by_value) in [
        ("/u/0", Some("/u/0"), true),
        ("/u/17", Some("/u/{id}"), true),
        ("/u/ada", Some("/u/{id}"), false),
        ("/f/17", Some("/f/{n:int}"), true),
        ("/f/a@b.c", None, true),
        ("/f/ada", None, false),
        ("/@ada", Some("/@{user}"), false),
        ("/17", None, true),
        ("/17.json", Some("/{id}.json"), false),
        ("/0123456789abcdef.json", Some("/{id}.json"), true),
        ("/s/17/a/18", Some("/s/{name}/*"), false),
        ("/caf%C3%A9", Some("/caf\u{e9}"), true),
        ("/other/17", None, false),
    ] {
        let found = find(&list, path.as_bytes(), false);
        assert_eq!(
            (found.template.map(Template::as_str), found.by_value),
            (expected, by_value),
            "{path}"
        );
    }
    assert!(tell_values(&list) && !tell_values(&["/u/{id}", "/v1/*"].map(template)));
}

/// Of a long path only the beginning is known.
#[test]
fn the_beginning_of_a_path() {
    let list = ["/a/{x}", "/a/*", "/b/{x}/c", "/b/*"].map(template);
    for (path, expected) in [
        // It may be the first one's, or not.
        ("/a/xxxx", None),
        ("/a/x/yyy", Some("/a/*")),
        ("/b/xxxx", None),
        ("/b/x/c", None),
        ("/b/x/y/zzz", Some("/b/*")),
        ("/c/xxxx", None),
    ] {
        assert_eq!(
            find(&list, path.as_bytes(), true).template.map(Template::as_str),
            expected,
            "{path}"
        );
    }
    let alone = [template("/b/*")];
    assert!(find(&alone, b"/b/xxx", true).template.is_some());
    assert!(find(&alone, b"/bxxx", true).template.is_none());
}

#[test]
fn what_stands_in_the_way() {
    for (one, other, expected) in [
        ("/u/{id}", "/u/me", true),
        ("/u/{id}", "/u/{name}", true),
        ("/u/{id}", "/u/:name", true),
        ("/u/{id}", "/u/v{n}", true),
        ("/u/v{n}", "/u/v1", true),
        ("/u/v{n}", "/u/v{m}", true),
        ("/*", "/u/{id}", true),
        ("/u/*", "/u/{id}/x", true),
        ("/u/*", "/u/", true),
        ("/u/*", "/u/[...x]", true),
        ("/u/[...x]", "/u/{id}", true),
        ("/u/{id:int}", "/u/17", true),
        ("/u/me", "/u/{id}", false),
        ("/u/{id}", "/u/", false),
        ("/u/{id}", "/u/*", false),
        ("/u/{id}", "/u/{id}/x", false),
        ("/u/{id:int}", "/u/{id}", false),
        ("/u/[...x]", "/u/", false),
        ("/u/[...x]", "/u/*", false),
        ("/u/*", "/u", false),
        ("/u/v{n}", "/u/w{n}", false),
    ] {
        assert_eq!(template(one).covers(&template(other)), expected, "{one} {other}");
    }
}

#[test]
fn refuses_bad_templates() {
    use TemplateError::*;
    let long = format!("/{}", "a".repeat(512));
    for (text, error) in [
        ("", NoLeadingSlash),
        ("api", NoLeadingSlash),
        ("GET /api", NoLeadingSlash),
        ("http://a/b", NoLeadingSlash),
        ("^api/$", NoLeadingSlash),
        ("/a?b=1", QueryOrFragment),
        ("/a#b", QueryOrFragment),
        ("/a b", Blank),
        ("/a\n", Blank),
        ("/a/*/b", Wildcard),
        ("/a/{rest:path}/b", Wildcard),
        ("/a/[...rest]/b", Wildcard),
        ("/a/x*", Wildcard),
        ("/a/x{p:path}", Wildcard),
        ("/a/{tail:.*}", Wildcard),
        ("/a/[[...rest]]", Optional),
        ("/a/:id?", Optional),
        ("/a/{id?}", Optional),
        ("/a//b", EmptySegment),
        ("//", EmptySegment),
        ("/a/{}", EmptyName),
        ("/a/<>", EmptyName),
        ("/a/[]", EmptyName),
        ("/a/{:path}", EmptyName),
        ("/a/{x.y}", BadName),
        ("/a/*b*", BadName),
        ("/a/{id:date}", BadType),
        ("/a/<date:id>", BadType),
        ("/a/{id:[0-9]+}", Expression),
        ("/a/<any(a,b):id>", Expression),
        ("/a/:id(\\d+)", Expression),
        ("/a/{id", Bracket),
        ("/a/id}", Bracket),
        ("/a/<id", Bracket),
        ("/a/id]", Bracket),
        ("/a/{a{b}", Bracket),
        ("/a/{a}{b}", Adjacent),
        ("/a/<a>{b}", Adjacent),
        ("/a/item-[id]", PartialSegment),
        (long.as_str(), TooLong),
    ] {
        assert_eq!(Template::parse(text), Err(error), "{text:?}");
        let line = error.to_string();
        assert!(!line.contains('\n') && line.starts_with(char::is_lowercase));
    }
    assert!(Template::parse(&format!("{long}/*")).is_ok());
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
