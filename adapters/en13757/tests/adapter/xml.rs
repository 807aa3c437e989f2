//! The few elements of libmbus' expectation files; no XML parser at large.

/// The texts of all elements of a name, in order.
pub fn all<'a>(text: &'a str, name: &str) -> Vec<&'a str> {
    let (open, close) = (format!("<{name}"), format!("</{name}>"));
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(&open) {
        let Some(inner) = rest.get(start..).and_then(|r| r.find('>').and_then(|end| r.get(end + 1..))) else { break };
        let Some(end) = inner.find(&close) else { break };
        found.push(&inner[..end]);
        rest = &inner[end + close.len()..];
    }
    found
}

/// The text of the first element of a name, with its entities undone.
pub fn one(text: &str, name: &str) -> Option<String> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let start = text.find(&open)? + open.len();
    let end = text[start..].find(&close)? + start;
    Some(text[start..end].replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&"))
}
