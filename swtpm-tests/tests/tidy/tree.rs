//! The files of the repository, as git lists them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// One text file: its path from the root with `/`, and what is in it.
pub struct File {
    pub path: String,
    pub text: String,
}

impl File {
    pub fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// Whether only tests are made of it.
    pub fn is_test(&self) -> bool {
        self.path.starts_with("swtpm-tests/")
            || self.path.split('/').any(|part| ["tests", "benches", "fuzz"].contains(&part))
            || ["/tests.rs", "_test.rs", "/testing.rs"].iter().any(|end| self.path.ends_with(end))
    }

    /// Its numbered lines up to the unit tests, without comments and single items for tests.
    pub fn product_code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines: Vec<&str> = self.text.lines().collect();
        let for_tests = |index: usize| lines[index].trim() == "#[cfg(test)]";
        let is_single = |index: usize| lines.get(index).is_some_and(|line| line.ends_with(';'));
        let end = (0..lines.len()).find(|index| for_tests(*index) && !is_single(index + 1));
        let single = |index: usize| index > 0 && for_tests(index - 1);
        let product: Vec<(usize, &str)> = (0..end.unwrap_or(lines.len()))
            .filter(|index| !single(*index))
            .map(|index| (index + 1, lines[index].split("//").next().unwrap_or_default()))
            .collect();
        product.into_iter()
    }
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Every file that is, or would be, in the repository, and is text.
pub fn files() -> Vec<File> {
    let output = Command::new("git")
        // The checkout may belong to another user than the one who tests.
        .args(["-c", "safe.directory=*", "ls-files", "-z"])
        .args(["--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let paths = String::from_utf8(output.stdout).expect("paths in UTF-8");
    let files: Vec<File> = paths
        .split_terminator('\0')
        .filter_map(|path| {
            let text = std::fs::read_to_string(root().join(path)).ok()?;
            Some(File { path: path.to_owned(), text })
        })
        .collect();
    assert!(files.iter().any(|file| file.path == "Cargo.toml"), "this is not the whole tree");
    files
}

/// Runs a rule over the tree and fails with all that it finds.
pub fn assert_tidy(rule: impl Fn(&File) -> Vec<String>) {
    let findings: Vec<String> = files().iter().flat_map(rule).collect();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
}

#[test]
fn product_code_ends_where_the_tests_begin() {
    let text = "a // b\n#[cfg(test)]\nuse c;\nd\n#[cfg(test)]\nmod tests {\n    e\n}\n";
    let file = File::new("a.rs", text);
    let lines: Vec<&str> = file.product_code().map(|(_, line)| line.trim()).collect();
    assert_eq!(lines, ["a", "#[cfg(test)]", "d"]);
}
