//! Files and functions that fit into one's head, and a top folder that fits on one screen.

use crate::tree::{self, File, assert_tidy};

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;

/// What may stand at the top; anything else belongs into one of the folders.
const TOP: [&str; 20] = [
    ".ci",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "SECURITY.md",
    "agent",
    "crates",
    "deny.toml",
    "docs",
    "pkcs11-shim",
    "rustfmt.toml",
    "scripts",
    "server",
    "swtpm-tests",
];

fn long_file(file: &File) -> Vec<String> {
    let code = file.path.ends_with(".rs") || file.path.starts_with("scripts/");
    match file.text.lines().count() {
        lines if code && lines > FILE_LINES => {
            vec![format!("{}: {lines} lines, the budget is {FILE_LINES}", file.path)]
        }
        _ => Vec::new(),
    }
}

/// In formatted source a function ends at the first line that is only a brace and as far in as
/// its first line.
fn long_functions(file: &File) -> Vec<String> {
    if !file.path.ends_with(".rs") {
        return Vec::new();
    }
    let lines: Vec<&str> = file.text.lines().collect();
    let mut findings = Vec::new();
    for (start, line) in lines.iter().enumerate().filter(|(_, line)| begins_function(line)) {
        let indent = &line[..line.len() - line.trim_start().len()];
        let end = format!("{indent}}}");
        let length = lines[start..].iter().position(|line| *line == end).map_or(1, |n| n + 1);
        // A function without a body, or on one line, ends before the next one of its kind.
        let body = lines[start..].iter().take_while(|line| !line.ends_with(';'));
        if length > FUNCTION_LINES && body.take(12).any(|line| line.ends_with('{')) {
            let name = line.trim();
            findings.push(format!(
                "{}:{}: {length} lines, the budget is {FUNCTION_LINES}: {name}",
                file.path,
                start + 1
            ));
        }
    }
    findings
}

fn begins_function(line: &str) -> bool {
    let mut words = line.split_whitespace().skip_while(|word| {
        word.starts_with("pub") || ["async", "const", "unsafe", "extern", "\"C\""].contains(word)
    });
    words.next() == Some("fn")
}

fn strange_top_entry(file: &File) -> Vec<String> {
    let top = file.path.split('/').next().unwrap_or_default();
    match TOP.contains(&top) {
        true => Vec::new(),
        false => vec![format!("{top}: nothing else stands at the top")],
    }
}

#[test]
fn files_are_short() {
    assert_tidy(long_file);
}

#[test]
fn a_long_file_is_found() {
    assert!(long_file(&File::new("a.rs", &"\n".repeat(500))).is_empty());
    assert_eq!(long_file(&File::new("a.rs", &"\n".repeat(501))).len(), 1);
    assert_eq!(long_file(&File::new("scripts/a", &"\n".repeat(501))).len(), 1);
}

#[test]
fn functions_are_short() {
    assert_tidy(long_functions);
}

#[test]
fn a_long_function_is_found() {
    let function = |head: &str, lines: usize| {
        let body = "        let block = {\n        };\n".repeat((lines - 2) / 2);
        File::new("a.rs", &format!("impl A {{\n    {head} {{\n{body}    }}\n}}\n"))
    };
    for head in ["fn a()", "pub(crate) async fn a(&self) -> u8", "pub const fn a<T>(t: T)"] {
        assert_eq!(long_functions(&function(head, 70)), Vec::<String>::new());
        assert_eq!(long_functions(&function(head, 72)).len(), 1, "{head}");
    }
    let declared = format!("trait A {{\n    fn a();\n{}}}\n", "    const B: u8;\n".repeat(90));
    assert!(long_functions(&File::new("a.rs", &declared)).is_empty());
}

#[test]
fn the_top_is_as_agreed() {
    assert_tidy(strange_top_entry);
    assert!(tree::root().join(TOP[6]).exists());
}

#[test]
fn a_strange_top_entry_is_found() {
    assert_eq!(strange_top_entry(&File::new("notes.txt", "")).len(), 1);
    assert_eq!(strange_top_entry(&File::new("tools/a/b", "")).len(), 1);
    assert!(strange_top_entry(&File::new("docs/a/b.md", "")).is_empty());
}
