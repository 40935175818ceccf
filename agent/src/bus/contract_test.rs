//! The interfaces as they are, against the files that say how they are to be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use twinseal_client::{
    AGENT_INTERFACE, COURIER_INTERFACE, JOB_INTERFACE, KEY_INTERFACE, TRADE_INTERFACE,
};

use super::{Interface, courier, job, key, root, trade};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/dbus");

#[test]
fn the_files_say_what_introspection_says() {
    for (name, xml) in interfaces() {
        let file = Path::new(FOLDER).join(format!("{name}.xml"));
        let written = std::fs::read_to_string(&file).unwrap();
        let node = format!("<node>\n{xml}</node>");
        assert_eq!(bare(&written), bare(&node), "{} should hold:\n{xml}", file.display());
    }
    let files = std::fs::read_dir(FOLDER).unwrap().count();
    assert_eq!(files, interfaces().len(), "a file for each interface, and no other");
}

#[test]
fn every_method_has_options_for_later() {
    for (name, xml) in interfaces() {
        for method in xml.split("<method ").skip(1) {
            let inputs = method.split("</method>").next().unwrap();
            let last = inputs.lines().rfind(|line| line.contains("direction=\"in\"")).unwrap();
            let wanted = r#"<arg name="options" type="a{sv}" direction="in"/>"#;
            assert_eq!(last.trim(), wanted, "{name}: {method}");
        }
    }
}

#[test]
fn every_error_of_the_agent_is_one_of_the_contract() {
    let agents = crate::Kind::ALL.iter().map(|kind| kind.name());
    let contracts = twinseal_client::ErrorKind::ALL.iter().map(|kind| kind.name());
    assert!(agents.eq(contracts));
}

fn interfaces() -> [(&'static str, String); 5] {
    [
        (AGENT_INTERFACE, xml(&root::INTERFACE)),
        (COURIER_INTERFACE, xml(&courier::INTERFACE)),
        (TRADE_INTERFACE, xml(&trade::INTERFACE)),
        (KEY_INTERFACE, xml(&key::INTERFACE)),
        (JOB_INTERFACE, xml(&job::INTERFACE)),
    ]
}

fn xml<T: Send + Sync + 'static>(interface: &Interface<T>) -> String {
    let mut xml = String::new();
    interface.write_xml(&mut xml);
    xml
}

/// Without comments, the document type and the space between elements.
fn bare(xml: &str) -> String {
    let mut rest = xml;
    let mut bare = String::new();
    while let Some((before, comment)) = rest.split_once("<!--") {
        bare.push_str(before);
        rest = comment.split_once("-->").unwrap().1;
    }
    bare.push_str(rest);
    let node = bare.find("<node").unwrap();
    bare[node..].lines().map(str::trim).collect()
}
