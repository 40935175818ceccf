//! What a command prints: text for people or one JSON object, and errors with what to do next.

use std::io::Write;
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::app::{Error, OpenError};
use crate::http::ListenError;
use crate::keys::KeysError;

/// The result of a command.
pub(super) struct Output {
    text: String,
    json: Value,
}

impl Output {
    pub(super) fn new(text: impl Into<String>, json: Value) -> Output {
        Output { text: text.into(), json }
    }

    /// A list: one line of text and one object each.
    pub(super) fn list(name: &str, none: &str, rows: Vec<(String, Value)>) -> Output {
        let (lines, objects): (Vec<String>, Vec<Value>) = rows.into_iter().unzip();
        let text = if lines.is_empty() { none.to_owned() } else { lines.join("\n") };
        Output { text, json: json!({ name: objects }) }
    }
}

/// Why a command did nothing.
pub(super) struct Failure {
    code: &'static str,
    message: String,
    next: String,
}

impl Failure {
    pub(super) fn new(
        code: &'static str,
        message: impl Into<String>,
        next: impl Into<String>,
    ) -> Failure {
        Failure { code, message: message.into(), next: next.into() }
    }
}

/// Prints, and says how the program ends.
pub(super) fn print(result: Result<Output, Failure>, json: bool) -> ExitCode {
    match (result, json) {
        (Ok(output), true) => say(&output.json.to_string()),
        (Ok(output), false) if output.text.is_empty() => (),
        (Ok(output), false) => say(&output.text),
        (Err(Failure { code, message, next }), true) => {
            eprintln!("{}", json!({ "error": { "code": code, "message": message, "next": next } }));
            return ExitCode::FAILURE;
        }
        (Err(Failure { message, next, .. }), false) => {
            eprintln!("twinseal-server: {message}\n{next}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Prints a line at once. Whoever reads may have gone away, which is no reason to fail.
pub(super) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Failure {
        let (code, next) = match &error {
            OpenError::Missing(_) => (
                "no-server",
                "Make one with `twinseal-server init --data DIR`, or name its folder by --data.",
            ),
            OpenError::Exists(_) => ("exists", "Use it, or name another folder by --data."),
            OpenError::SecretsInData(_) => {
                ("secrets-in-data", "Name a folder outside the data folder by --secrets.")
            }
            OpenError::Folder(..) => ("folder", "Make the folder yourself, or name another one."),
            OpenError::PublicUrl(_) => {
                ("public-url", "Give scheme, host and perhaps port, without a path.")
            }
            OpenError::OtherKeys => {
                ("other-keys", "Name the secrets folder made with this database by --secrets.")
            }
            OpenError::Restored { .. } => (
                "restored",
                "Run `twinseal-server recover`, which says what it does; see docs/http.md.",
            ),
            OpenError::Mark(_) => ("mark", "See that you own the secrets folder."),
            OpenError::Keys(KeysError::Exposed(_)) => {
                ("keys-exposed", "If nobody has read them: chmod 600 the file. Else make new keys.")
            }
            OpenError::Keys(_) => {
                ("keys", "Name the secrets folder by --secrets; see that you may read it.")
            }
            OpenError::Store(_) | OpenError::Reason(_) => {
                ("database", "See that you own the data folder and that the disk is not full.")
            }
        };
        Failure::new(code, chain(&error), next)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let (code, next) = match &error {
            Error::Refused(reason) | Error::Hidden(reason) => {
                (reason.code(), "Correct it and try again.")
            }
            Error::Invalid(_) => ("invalid", "Correct it and try again."),
            Error::NotFound(_) => ("not-found", "Look at the list for what there is."),
            Error::Conflict(code, _) => (*code, "Look at what there is."),
            Error::Busy => ("busy", "Try again later."),
            Error::Internal(_) => ("internal", "See that the disk is not full, and try again."),
        };
        Failure::new(code, chain(&error), next)
    }
}

impl From<ListenError> for Failure {
    fn from(error: ListenError) -> Failure {
        let next = match &error {
            ListenError::Bind(..) => "Name another address by --listen and --backend-listen.",
            _ => "Give a certificate chain and its private key, both in PEM.",
        };
        Failure::new("listen", chain(&error), next)
    }
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
