//! Whether everything on a page can be read: nothing cut off, nothing over its neighbour.

use serde_json::Value;

use crate::chromium::Chromium;

/// The longest texts that numbers have, by what they stand in: a page has to fit the busiest host too.
const LONGEST: &[(&str, &str)] = &[
    (".tile .value b", "99999"),
    (".tile .key b", "999\u{202f}999"),
    ("td[data-name=requests]", "999\u{202f}999"),
    ("td[data-name=aborted]", "999\u{202f}999"),
    ("td[data-name$=xx]", "999\u{202f}999"),
    ("td[data-name=rate]", "99999"),
    ("td[data-name=errors]", "<0.01\u{202f}%"),
    ("td[data-name=p50]", "99.9\u{202f}ms"),
    ("td[data-name=p95]", "99.9\u{202f}ms"),
    ("td[data-name=p99]", "99.9\u{202f}ms"),
    ("td[data-name=wait]", "99.9\u{202f}ms"),
    ("td[data-name=flight]", "99999"),
    ("td[data-name=cpu]", "99.9"),
];

/// What is wider than what it stands in: boxes by what they hold, and texts by where their letters are.
const CUT_OFF: &str = r#"((longest) => {
  for (const [selector, text] of longest) {
    for (const one of document.querySelectorAll(selector)) one.textContent = text;
  }
  const isRead = (one) => one.checkVisibility() && !one.closest("script, style, noscript, select, .unseen, .skip");
  const isBox = (one) => !["inline", "contents"].includes(getComputedStyle(one).display);
  const name = (one) => [one.tagName, one.id, one.className, ...Object.values(one.dataset)].filter(Boolean).join(" ");
  const cut = new Set();
  for (const one of document.body.querySelectorAll("*")) {
    if (!(one instanceof HTMLElement) || !isRead(one) || !isBox(one)) continue;
    if (one.scrollWidth > one.clientWidth + 1) cut.add(`${name(one)}: ${one.scrollWidth} in ${one.clientWidth} pixels`);
  }
  let texts = 0;
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const { textContent, parentElement } = walker.currentNode;
    if (!textContent.trim() || !isRead(parentElement)) continue;
    texts += 1;
    const range = document.createRange();
    range.selectNodeContents(walker.currentNode);
    for (const { left, right, top, bottom } of range.getClientRects()) {
      for (let one = parentElement; one; one = one.parentElement) {
        if (!isBox(one)) continue;
        const box = one.getBoundingClientRect();
        const isClipped = getComputedStyle(one).overflowY !== "visible" && (top < box.top - 1 || bottom > box.bottom + 1);
        if (isClipped || left < box.left - 1 || right > box.right + 1) cut.add(`“${textContent.trim()}” leaves ${name(one)}`);
      }
    }
  }
  return { texts, cut: [...cut] };
})"#;

/// Asserts that all of the page can be read at its width, with the numbers that it has and with the longest ones.
///
/// The page writes its own numbers again with the next ones that it reads.
pub fn assert_fits(browser: &mut Chromium) {
    let widths = browser.value("[document.documentElement.scrollWidth, innerWidth]");
    assert!(
        widths[0].as_f64() <= widths[1].as_f64(),
        "{widths}: it has to be scrolled sideways"
    );
    for longest in [&[], LONGEST] {
        let found = browser.value(&format!("{CUT_OFF}({})", serde_json::to_string(longest).unwrap()));
        assert!(found["texts"].as_u64() > Some(50), "{found}");
        assert_eq!(
            found["cut"],
            Value::Array(Vec::new()),
            "cut off at {} pixels",
            widths[1]
        );
    }
}
