//! Documents that can be found from the front door, and whose links lead somewhere.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use crate::tree::{File, files};

/// The targets of a document's links to files, as paths from the root.
fn links(file: &File) -> Vec<String> {
    let folder = Path::new(&file.path).parent().unwrap_or(Path::new(""));
    let targets = file.text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    targets
        .filter_map(|target| target.split('#').next())
        .filter(|target| !target.is_empty() && !target.contains("://"))
        .map(|target| normal(&folder.join(target)))
        .collect()
}

/// The path with its `..` resolved by name.
fn normal(path: &Path) -> String {
    let mut parts = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                parts.pop();
            }
            Component::Normal(part) => parts.push(part),
            _ => {}
        }
    }
    parts.to_string_lossy().into_owned()
}

fn broken_links(files: &[File]) -> Vec<String> {
    let there = |target: &str| {
        files.iter().any(|file| file.path == target || file.path.starts_with(&format!("{target}/")))
    };
    documents(files)
        .flat_map(|file| links(file).into_iter().map(move |target| (&file.path, target)))
        .filter(|(_, target)| !there(target))
        .map(|(path, target)| format!("{path}: no {target}"))
        .collect()
}

/// Documents below `docs/` to which no other document leads.
fn lost_documents(files: &[File]) -> Vec<String> {
    let linked: BTreeSet<String> = documents(files)
        .flat_map(|file| links(file).into_iter().filter(move |target| *target != file.path))
        .collect();
    let reached = |path: &str| {
        let index = path.strip_suffix("/README.md").is_some_and(|folder| linked.contains(folder));
        index || linked.contains(path)
    };
    documents(files)
        .filter(|file| file.path.starts_with("docs/") && !reached(&file.path))
        .map(|file| format!("{}: no document leads here", file.path))
        .collect()
}

/// Tests that the documents of promises name and that do not exist.
fn missing_tests(files: &[File]) -> Vec<String> {
    let promises = ["docs/claims.md", "docs/threat-model.md"];
    let sources: Vec<&File> = files.iter().filter(|file| file.path.ends_with(".rs")).collect();
    let is_there = |name: &str| {
        let head = format!("fn {name}()");
        sources.iter().any(|file| file.text.contains(&head))
    };
    documents(files)
        .filter(|file| promises.contains(&file.path.as_str()))
        .flat_map(|file| tests_named(file).into_iter().map(move |name| (&file.path, name)))
        .filter(|(_, name)| !is_there(name))
        .map(|(path, name)| format!("{path}: no test {name}"))
        .collect()
}

/// What is set as code and has the form of a test's name: words, three at least.
fn tests_named(file: &File) -> Vec<&str> {
    let is_name = |text: &&str| {
        let plain = |c: char| c == '_' || c.is_ascii_lowercase() || c.is_ascii_digit();
        text.split('_').count() > 2 && text.chars().all(plain)
    };
    file.text.split('`').skip(1).step_by(2).filter(is_name).collect()
}

fn documents(files: &[File]) -> impl Iterator<Item = &File> {
    files.iter().filter(|file| file.path.ends_with(".md"))
}

#[test]
fn links_lead_somewhere() {
    let findings = broken_links(&files());
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn a_broken_link_is_found() {
    let page = File::new("docs/a.md", "[b](b.md#part) [c](../c.md) [d](https://example.org/d)");
    let there = File::new("docs/b.md", "");
    assert_eq!(broken_links(&[page, there]), ["docs/a.md: no c.md"]);
}

#[test]
fn every_document_can_be_found() {
    let findings = lost_documents(&files());
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn a_lost_document_is_found() {
    let files = [
        File::new("README.md", "[decisions](docs/decisions) [a](docs/a.md)"),
        File::new("docs/a.md", ""),
        File::new("docs/b.md", "[b](b.md)"),
        File::new("docs/decisions/README.md", "[1](1.md)"),
        File::new("docs/decisions/1.md", ""),
    ];
    assert_eq!(lost_documents(&files), ["docs/b.md: no document leads here"]);
}

#[test]
fn every_test_that_is_promised_exists() {
    let findings = missing_tests(&files());
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn a_test_that_does_not_exist_is_found() {
    let page = File::new("docs/claims.md", "`it_holds_so` and `it_holds_not_so`, of `rsa_key`");
    let source = File::new("tests/a.rs", "#[test]\nfn it_holds_so() {}");
    assert_eq!(missing_tests(&[page, source]), ["docs/claims.md: no test it_holds_not_so"]);
}
