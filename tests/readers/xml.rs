//! JUnit XML through a parser of XML, with the rules that readers of the dialect go by.

use std::collections::BTreeSet;

/// A test case.
#[derive(Debug, PartialEq)]
pub struct Case {
    pub name: String,
    pub class: String,
    /// `failure`, `error`, `skipped` or nothing.
    pub status: Option<String>,
    pub message: Option<String>,
    pub kind: Option<String>,
    pub text: Option<String>,
}

/// The cases of a report whose counts are right and whose cases have names of their own.
pub fn read(text: &str) -> Result<Vec<Case>, String> {
    let document = roxmltree::Document::parse(text).map_err(|error| error.to_string())?;
    let root = document.root_element();
    let mut cases = Vec::new();
    for suite in elements(root, &["testsuite"])? {
        let own: Vec<_> = elements(suite, &["properties", "testcase"])?;
        for case in own.into_iter().filter(|element| element.has_tag_name("testcase")) {
            cases.push(read_case(case)?);
        }
    }
    if root.tag_name().name() != "testsuites" {
        return Err("the root is no testsuites".to_owned());
    }
    let count = |status: &str| cases.iter().filter(|case| case.status.as_deref() == Some(status)).count();
    let counts = [("failures", count("failure")), ("errors", count("error")), ("skipped", count("skipped"))];
    for element in std::iter::once(root).chain(root.children().filter(|child| child.is_element())) {
        for (attribute, count) in counts.into_iter().chain([("tests", cases.len())]) {
            if element.attribute(attribute) != Some(count.to_string().as_str()) {
                return Err(format!("{attribute} is not {count}"));
            }
        }
    }
    let names: BTreeSet<(&str, &str)> = cases.iter().map(|case| (case.class.as_str(), case.name.as_str())).collect();
    if names.len() == cases.len() { Ok(cases) } else { Err("a case twice".to_owned()) }
}

fn elements<'a>(of: roxmltree::Node<'a, 'a>, known: &[&str]) -> Result<Vec<roxmltree::Node<'a, 'a>>, String> {
    let children: Vec<_> = of.children().filter(|child| child.is_element()).collect();
    match children.iter().find(|child| !known.contains(&child.tag_name().name())) {
        Some(child) => Err(format!("unexpected: {child:?}")),
        None => Ok(children),
    }
}

fn read_case(case: roxmltree::Node<'_, '_>) -> Result<Case, String> {
    const STATUSES: [&str; 3] = ["failure", "error", "skipped"];
    let attribute = |of: roxmltree::Node<'_, '_>, name: &str| of.attribute(name).map(str::to_owned);
    let children: Vec<_> = case.children().filter(|child| child.is_element()).collect();
    let statuses: Vec<_> = children.iter().filter(|child| STATUSES.contains(&child.tag_name().name())).collect();
    if statuses.len() > 1 || children.len() > statuses.len() + 2 {
        return Err(format!("too much in a case: {case:?}"));
    }
    if let Some(time) = case.attribute("time") {
        time.parse::<f64>().map_err(|_| format!("`{time}` is no time"))?;
    }
    let status = statuses.first();
    Ok(Case {
        name: attribute(case, "name").ok_or("no name")?,
        class: attribute(case, "classname").ok_or("no class")?,
        status: status.map(|status| status.tag_name().name().to_owned()),
        message: status.and_then(|status| attribute(**status, "message")),
        kind: status.and_then(|status| attribute(**status, "type")),
        text: status.and_then(|status| status.text()).map(str::to_owned),
    })
}
