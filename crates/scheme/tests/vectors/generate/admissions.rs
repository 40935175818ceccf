//! What is judged of enrolments and devices from facts alone.

use crate::format::{Vector, bytes, word};

pub fn vectors() -> Vec<Vector> {
    [admissions(), others()].concat()
}

/// The code, the serial: each in a word; whether it is listed, whether strangers are approved.
fn claim(code: &str, serial: &str, listed: u8, by_hand: u8) -> Vector {
    let fields = vec![
        word("code", code),
        word("serial", serial),
        word("listed", listed),
        word("by-hand", by_hand),
    ];
    Vector::good("judge", "judge-claim", "judge-claim", fields)
}

/// The same about a token; `accepted` says whether the operator accepts any.
fn token(accepted: &str, mut claim: Vector) -> Vector {
    claim.fields.push(word("chip", format!("token-{accepted}")));
    claim
}

fn admissions() -> Vec<Vector> {
    let good = |mut vector: Vector, name: &str, ground: &str| {
        vector.name = format!("judge-claim-{name}");
        vector.fields.push(word("out-ground", ground));
        vector
    };
    let (not, live) = ("not-admitted", "serial-live");
    let quarantined = "device-quarantined";
    vec![
        good(claim("good", "new", 0, 0), "code", "code"),
        good(claim("good", "new", 1, 0), "code-and-listed", "code"),
        good(claim("missing", "new", 1, 0), "listed", "listed"),
        good(claim("bad", "new", 1, 0), "bad-code-and-listed", "listed"),
        good(claim("missing", "new", 0, 1), "by-hand", "by-hand"),
        good(claim("missing", "live-active-named", 0, 0), "proof", "proof"),
        good(claim("good", "live-quarantined-named", 0, 0), "quarantined", "code"),
        good(claim("missing", "revoked", 1, 0), "revoked-listed", "listed"),
        good(claim("missing", "live-active", 1, 0), "readmitted", "listed"),
        good(claim("missing", "live-quarantined", 1, 0), "readmitted-quarantined", "listed"),
        claim("missing", "new", 0, 0).refused(not, "stranger", "a stranger without a code"),
        claim("bad", "new", 0, 1).refused("code-not-good", "bad-code", "a code that is not good"),
        claim("good", "live-active", 0, 0).refused(live, "live", "a serial that is enrolled"),
        claim("good", "live-awaiting-named", 1, 1).refused(
            live,
            "awaiting",
            "a device that is not approved yet",
        ),
        claim("good", "live-quarantined", 0, 0).refused(live, "unnamed", "without a proof"),
        claim("missing", "live-quarantined-named", 0, 1).refused(
            quarantined,
            "no-operator",
            "out of quarantine without an operator",
        ),
        claim("good", "revoked", 0, 0).refused(
            "serial-revoked",
            "revoked",
            "a serial that was revoked, and is not listed again",
        ),
        good(token("accepted", claim("good", "new", 0, 0)), "token-code", "code"),
        good(token("accepted", claim("missing", "new", 1, 0)), "token-listed", "listed"),
        good(
            token("accepted", claim("missing", "live-active-named", 0, 0)),
            "token-proof",
            "proof",
        ),
        token("accepted", claim("missing", "new", 0, 1)).refused(
            not,
            "token-stranger",
            "a token that nobody has invited, where strangers are approved",
        ),
        token("refused", claim("good", "new", 1, 1)).refused(
            "token-not-accepted",
            "token-refused",
            "a token, where none is accepted",
        ),
    ]
}

fn others() -> Vec<Vector> {
    let judged = |operation: &str, name: &str, fields| {
        Vector::good("judge", &format!("{operation}{name}"), operation, fields)
    };
    let nonce = |name: &str, first: u8| judged("judge-nonce", name, vec![word("first", first)]);
    let repetition = |name: &str, alive: u8, answered: Option<u8>, out: &str| {
        let mut fields = vec![word("alive", alive), bytes("this", [1; 32])];
        fields.extend(answered.map(|byte| bytes("answered", [byte; 32])));
        fields.push(word("out-again", out));
        judged("judge-repetition", name, fields)
    };
    let device = |name: &str, state: &str| judged("judge-device", name, vec![word("state", state)]);
    vec![
        nonce("-first", 1),
        nonce("", 0).refused("nonce-used", "nonce", "a challenge that was answered before"),
        repetition("-new", 1, None, "0"),
        repetition("-again", 1, Some(1), "1"),
        repetition("-again-late", 0, Some(1), "1"),
        repetition("", 1, Some(2), "").refused(
            "enrolment-other",
            "other",
            "other bytes than were answered",
        ),
        repetition("", 0, None, "").refused(
            "enrolment-unknown",
            "dead",
            "an enrolment that is not alive",
        ),
        device("-active", "active"),
        device("", "unknown").refused("device-unknown", "unknown", "a device that nobody knows"),
        device("", "awaiting").refused("device-unknown", "awaiting", "one that is not approved"),
        device("", "revoked").refused("device-revoked", "revoked", "one that was revoked"),
        device("", "quarantined").refused(
            "device-quarantined",
            "in-quarantine",
            "one whose chip's history contradicts itself",
        ),
    ]
}
