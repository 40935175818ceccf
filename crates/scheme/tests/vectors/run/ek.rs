//! EK certificates, enrolment links.

use ciborium::value::Value;
use twinseal_scheme::Reason;
use twinseal_scheme::ek::{Authorities, DeniedChip, EkPolicy, judge};
use twinseal_scheme::link::Link;
use twinseal_scheme::tpm::EndorsementKey;

use super::{Operation, Outcome};
use crate::format::{Inputs, bytes, word};

pub const OPERATIONS: &[Operation] = &[
    Operation { name: "ek-certificate", input: None, exact: false, run: certificate },
    Operation { name: "link", input: Some("link"), exact: false, run: link },
];

/// An array of byte strings.
fn list(i: &Inputs, key: &str) -> Vec<Vec<u8>> {
    let value: Value = ciborium::from_reader(&i.bytes(key)[..]).unwrap();
    let items = value.into_array().unwrap().into_iter();
    items.map(|item| item.into_bytes().unwrap()).collect()
}

fn certificate(i: &Inputs) -> Outcome {
    let ek = EndorsementKey::parse(&i.bytes("ek-public"))?;
    let mut authorities = Authorities::new();
    for root in list(i, "roots") {
        authorities.add_root(&root)?;
    }
    let model = i.has("denied-model").then(|| i.word("denied-model").to_owned());
    let denied = model.map(|model| DeniedChip { model: Some(model), ..DeniedChip::default() });
    let policy = EkPolicy {
        authorities: &authorities,
        now_s: i.number("now"),
        accept_expired: i.has("accept-expired"),
        denied: denied.as_slice(),
        accept_simulator: i.has("accept-simulator"),
        listed: i.has("listed"),
    };
    let certificates = list(i, "certificates");
    let certificates: Vec<_> = certificates.iter().map(Vec::as_slice).collect();
    let assurance = judge(&ek, &certificates, &policy).outcome?;
    Ok(vec![word("out-assurance", assurance)])
}

fn link(i: &Inputs) -> Outcome {
    let text = String::from_utf8(i.bytes("link")).map_err(|_| Reason::BadLink)?;
    let link: Link = text.parse()?;
    assert_eq!(link.to_string().parse(), Ok(link.clone()));
    let mut outputs = vec![
        word("out-url", link.url),
        bytes("out-server-id", link.server_id.0),
        word("out-least", link.least_sequence),
    ];
    outputs.extend(link.code.map(|code| word("out-code", code)));
    Ok(outputs)
}
