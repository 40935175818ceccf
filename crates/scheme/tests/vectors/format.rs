//! A vector is a text file: a head, then inputs and outputs, a line each.
//!
//! ```text
//! name: up-serial
//! operation: open-up
//! expect: ok
//! fault: none
//! with: parties
//! envelope: 8289...
//! ```
//!
//! A value is a number in decimal digits, a word, or bytes in hexadecimal digits, where a run
//! of one byte may be written `00*500` between spaces. `crates/scheme/vectors/README.md` says
//! which keys there are.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// One test vector.
#[derive(Clone, PartialEq, Eq)]
pub struct Vector {
    /// The folder that it is in.
    pub group: String,
    /// Its file's name without the ending.
    pub name: String,
    /// What a receiver does with it.
    pub operation: String,
    /// `ok`, or the code of the reason for which it is refused.
    pub expect: String,
    /// The one thing that is wrong.
    pub fault: String,
    /// The rule that it breaks; `none` of a good vector.
    pub rule: String,
    /// The files of inputs that it shares with others; its own fields go before theirs.
    pub with: Option<String>,
    /// Inputs, outputs and notes, in order.
    pub fields: Vec<Field>,
}

pub type Field = (String, String);

impl Vector {
    /// A vector that is accepted.
    pub fn good(group: &str, name: &str, operation: &str, fields: Vec<Field>) -> Vector {
        Vector {
            group: group.into(),
            name: name.into(),
            operation: operation.into(),
            expect: "ok".into(),
            fault: "none".into(),
            rule: "none".into(),
            with: None,
            fields,
        }
    }

    /// The same with one fault, for which it is refused. It is named after the rule it breaks.
    pub fn refused(mut self, expect: &str, rule: &str, fault: &str) -> Vector {
        self.expect = expect.into();
        self.rule = rule.into();
        self.fault = fault.into();
        self.name = match self.name.as_str() {
            "" => rule.into(),
            name => format!("{name}-{rule}"),
        };
        // What a good one says of its making and of what comes out of it.
        let of_good = |key: &str| ["note-", "out-", "seal-"].iter().any(|p| key.starts_with(p));
        self.fields.retain(|(key, _)| !of_good(key));
        self
    }

    pub fn with(mut self, shared: &str) -> Vector {
        self.with = Some(shared.into());
        self
    }

    pub fn path(&self) -> PathBuf {
        folder().join(&self.group).join(format!("{}.txt", self.name))
    }

    pub fn print(&self) -> String {
        let mut out = String::new();
        let mut line = |key: &str, value: &str| {
            let _ = writeln!(out, "{}", format!("{key}: {value}").trim_end());
        };
        line("name", &self.name);
        line("operation", &self.operation);
        line("expect", &self.expect);
        line("rule", &self.rule);
        line("fault", &self.fault);
        if let Some(with) = &self.with {
            line("with", with);
        }
        self.fields.iter().for_each(|(key, value)| line(key, value));
        out
    }

    pub fn parse(group: &str, text: &str) -> Vector {
        let mut fields = parse(text).into_iter();
        let mut head = |key: &str| match fields.next() {
            Some((found, value)) if found == key => value,
            other => panic!("{key} expected, not {other:?}"),
        };
        let (name, operation, expect) = (head("name"), head("operation"), head("expect"));
        let (rule, fault) = (head("rule"), head("fault"));
        let mut fields: Vec<Field> = fields.collect();
        let with = match fields.first() {
            Some((key, _)) if key == "with" => Some(fields.remove(0).1),
            _ => None,
        };
        let group = group.into();
        Vector { group, name, operation, expect, fault, rule, with, fields }
    }
}

/// Where the vectors are.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// The lines of a file, but for comments.
pub fn parse(text: &str) -> Vec<Field> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let split = |line: &str| {
        let (key, value) = line.split_once(':').unwrap_or_else(|| panic!("no colon: {line}"));
        (key.to_owned(), value.trim().to_owned())
    };
    lines.map(split).collect()
}

/// Every vector there is a file of, sorted by path.
pub fn all() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for group in entries(&folder()).into_iter().filter(|path| path.is_dir()) {
        for path in entries(&group) {
            let group = group.file_name().unwrap().to_str().unwrap();
            let vector = Vector::parse(group, &std::fs::read_to_string(&path).unwrap());
            assert_eq!(vector.path(), path, "a vector has the name of its file");
            vectors.push(vector);
        }
    }
    vectors
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// What a vector says, and the file that it shares with others.
pub struct Inputs {
    values: BTreeMap<String, String>,
    own: Vec<String>,
    used: RefCell<BTreeSet<String>>,
}

impl Inputs {
    pub fn of(vector: &Vector) -> Inputs {
        let shared = vector.with.iter().flat_map(|names| names.split(' ')).flat_map(|name| {
            parse(&std::fs::read_to_string(folder().join(format!("{name}.txt"))).unwrap())
        });
        let fields = shared.chain(vector.fields.iter().cloned());
        let own = vector.fields.iter().map(|(key, _)| key.clone()).collect();
        Inputs { values: fields.collect(), own, used: RefCell::default() }
    }

    /// The same with another value.
    pub fn replace(&mut self, key: &str, bytes: &[u8]) {
        self.values.insert(key.to_owned(), hex(bytes));
    }

    pub fn has(&self, key: &str) -> bool {
        self.used.borrow_mut().insert(key.to_owned());
        self.values.contains_key(key)
    }

    pub fn word(&self, key: &str) -> &str {
        self.used.borrow_mut().insert(key.to_owned());
        self.values.get(key).unwrap_or_else(|| panic!("no {key}"))
    }

    pub fn number<T: std::str::FromStr>(&self, key: &str) -> T {
        let word = self.word(key);
        word.parse().unwrap_or_else(|_| panic!("{key}: {word} is no such number"))
    }

    pub fn bytes(&self, key: &str) -> Vec<u8> {
        unhex(self.word(key))
    }

    pub fn fixed<const N: usize>(&self, key: &str) -> [u8; N] {
        self.bytes(key).try_into().unwrap_or_else(|_| panic!("{key}: not {N} bytes"))
    }

    /// Own fields that nobody has asked for.
    pub fn unused(&self) -> Vec<&String> {
        let used = self.used.borrow();
        let noted = |key: &&String| !key.starts_with("note-") && !used.contains(*key);
        self.own.iter().filter(noted).collect()
    }
}

/// Runs of at least this many equal bytes are written short.
const RUN: usize = 48;

pub fn hex(bytes: &[u8]) -> String {
    let mut out = String::new();
    for run in bytes.chunk_by(|a, b| a == b) {
        let byte = run[0];
        match run.len() {
            0..RUN => run.iter().for_each(|_| write!(out, "{byte:02x}").unwrap()),
            len => write!(out, " {byte:02x}*{len} ").unwrap(),
        }
    }
    out.trim().replace("  ", " ")
}

pub fn unhex(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for part in text.split(' ').filter(|part| !part.is_empty()) {
        match part.split_once('*') {
            Some((byte, len)) => {
                let byte = u8::from_str_radix(byte, 16).unwrap();
                out.extend(std::iter::repeat_n(byte, len.parse().unwrap()));
            }
            None => {
                assert!(part.len().is_multiple_of(2), "odd hexadecimal: {part}");
                let digits = (0..part.len()).step_by(2);
                out.extend(digits.map(|i| u8::from_str_radix(&part[i..i + 2], 16).unwrap()));
            }
        }
    }
    out
}

/// The text of a file of shared fields.
pub fn print_shared(comment: &str, fields: &[Field]) -> String {
    let comment = comment.lines().map(|line| format!("# {line}\n"));
    let lines = fields.iter().map(|(key, value)| format!("{key}: {value}\n"));
    comment.chain(lines).collect()
}

/// A field of bytes.
pub fn bytes(key: &str, value: impl AsRef<[u8]>) -> Field {
    (key.into(), hex(value.as_ref()))
}

/// A field of a number or a word.
pub fn word(key: &str, value: impl ToString) -> Field {
    (key.into(), value.to_string())
}
