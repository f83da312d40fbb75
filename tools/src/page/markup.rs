//! A small reader of our own markup: refuses what a browser would have to mend.

/// An element or a text, in the order of the file.
#[derive(Debug)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) attributes: Vec<(String, String)>,
    /// Text directly in the element, entities resolved.
    pub(super) text: String,
}

impl Element {
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        let found = self.attributes.iter().find(|(own, _)| own == name);
        found.map(|(_, value)| value.as_str())
    }

    pub(super) fn has_class(&self, class: &str) -> bool {
        self.attribute("class").is_some_and(|all| all.split(' ').any(|own| own == class))
    }
}

const VOID: [&str; 1] = ["meta"];
const RAW: [&str; 2] = ["style", "script"];

/// Every element of the page.
pub(super) fn elements(html: &str) -> Result<Vec<Element>, String> {
    let mut rest = html.strip_prefix("<!doctype html>").ok_or("no doctype")?;
    let mut all: Vec<Element> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    while let Some(start) = rest.find('<') {
        let text = unescaped(&rest[..start])?;
        match open.last() {
            Some(&parent) => all[parent].text += &text,
            None if text.trim().is_empty() => {}
            None => return Err(format!("text outside of an element: {text:?}")),
        }
        rest = &rest[start + 1..];
        let end = tag_end(rest)?;
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            let index = open.pop().ok_or(format!("</{name}> closes nothing"))?;
            if all[index].name != name {
                return Err(format!("</{name}> closes <{}>", all[index].name));
            }
            continue;
        }
        let (tag, is_closed) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
        let element = element(tag)?;
        let name = element.name.clone();
        all.push(element);
        if RAW.contains(&name.as_str()) {
            let end = rest.find(&format!("</{name}>")).ok_or(format!("<{name}> is not closed"))?;
            all.last_mut().unwrap().text = rest[..end].to_owned();
            rest = &rest[end + name.len() + 3..];
        } else if !is_closed && !VOID.contains(&name.as_str()) {
            open.push(all.len() - 1);
        }
    }
    match open.last() {
        Some(&index) => Err(format!("<{}> is not closed", all[index].name)),
        None if rest.trim().is_empty() => Ok(all),
        None => Err(format!("text after the page: {rest:?}")),
    }
}

fn tag_end(rest: &str) -> Result<usize, String> {
    let mut quoted = false;
    for (index, character) in rest.char_indices() {
        match character {
            '"' => quoted = !quoted,
            '<' => return Err(format!("< in a tag: {:?}", &rest[..index])),
            '>' if !quoted => return Ok(index),
            _ => {}
        }
    }
    Err("a tag does not end".to_owned())
}

fn element(tag: &str) -> Result<Element, String> {
    let (name, mut rest) = tag.split_once(' ').unwrap_or((tag, ""));
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(format!("tag {tag:?}"));
    }
    let mut attributes: Vec<(String, String)> = Vec::new();
    while !rest.trim_start().is_empty() {
        let (key, after) =
            rest.trim_start().split_once("=\"").ok_or(format!("attribute in {tag:?}"))?;
        let (value, after) = after.split_once('"').ok_or(format!("value in {tag:?}"))?;
        if !after.is_empty() && !after.starts_with(' ') {
            return Err(format!("attributes of {tag:?} touch"));
        }
        if key.is_empty()
            || !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            || attributes.iter().any(|(before, _)| before == key)
        {
            return Err(format!("attribute {key:?} in {tag:?}"));
        }
        attributes.push((key.to_owned(), unescaped(value)?));
        rest = after;
    }
    Ok(Element { name: name.to_owned(), attributes, text: String::new() })
}

fn unescaped(text: &str) -> Result<String, String> {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        plain += &rest[..start];
        rest = &rest[start..];
        let entities = [
            ("&amp;", '&'),
            ("&lt;", '<'),
            ("&gt;", '>'),
            ("&quot;", '"'),
            ("&#39;", '\''),
            ("&#9;", '\t'),
            ("&#10;", '\n'),
        ];
        let found = entities.iter().find(|(entity, _)| rest.starts_with(entity));
        let (entity, character) = found.ok_or(format!("a bare & in {text:?}"))?;
        plain.push(*character);
        rest = &rest[entity.len()..];
    }
    if rest.contains('>') {
        return Err(format!("a bare > in {text:?}"));
    }
    Ok(plain + rest)
}

#[test]
fn what_is_not_well_formed_is_refused() {
    let page = |body: &str| elements(&format!("<!doctype html>{body}"));
    assert_eq!(page("<p class=\"a\">1 &lt; 2<b>x</b></p>").unwrap().len(), 2);
    for wrong in [
        "<p>",
        "</p>",
        "<p><b></p></b>",
        "<p>a & b</p>",
        "<p>a > b</p>",
        "<p a=\"<b>\"></p>",
        "<p a=\"1\" a=\"2\"></p>",
        "<p a=\"1\"b=\"2\"></p>",
        "<p a=1></p>",
        "<p></p>text",
        "<style>",
    ] {
        assert!(page(wrong).is_err(), "{wrong}");
    }
    assert!(elements("<p></p>").is_err());
}
