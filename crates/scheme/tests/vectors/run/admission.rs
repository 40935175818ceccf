//! Judgements of enrolments and devices.

use twinseal_scheme::enrol::judge::{
    ChipState, ClaimFacts, CodeState, DeviceState, Ground, SerialState, admission, device, nonce,
    repetition,
};

use super::{Operation, Outcome};
use crate::format::{Inputs, word};

pub const OPERATIONS: &[Operation] = &[
    Operation { name: "judge-claim", input: None, exact: false, run: claim },
    Operation { name: "judge-nonce", input: None, exact: false, run: first },
    Operation { name: "judge-repetition", input: None, exact: false, run: again },
    Operation { name: "judge-device", input: None, exact: false, run: standing },
];

fn claim(i: &Inputs) -> Outcome {
    let code = match i.word("code") {
        "good" => CodeState::Good,
        "bad" => CodeState::Bad,
        _ => CodeState::Missing,
    };
    let serial = match i.word("serial") {
        "new" => SerialState::New,
        "revoked" => SerialState::Revoked,
        live => {
            let words: Vec<&str> = live.split('-').collect();
            let device = DeviceState::from_word(words[1]).unwrap();
            SerialState::Live { device, is_named: words.contains(&"named") }
        }
    };
    let is_listed = i.number::<u8>("listed") == 1;
    let approves_by_hand = i.number::<u8>("by-hand") == 1;
    let chip = match i.has("chip").then(|| i.word("chip")) {
        None => ChipState::Tpm,
        Some(word) => ChipState::Token { is_accepted: word == "token-accepted" },
    };
    let facts = ClaimFacts { code, is_listed, approves_by_hand, serial, chip };
    let ground = match admission(&facts)? {
        Ground::Code => "code",
        Ground::Listed => "listed",
        Ground::ByHand => "by-hand",
        Ground::Proof => "proof",
    };
    Ok(vec![word("out-ground", ground)])
}

fn first(i: &Inputs) -> Outcome {
    nonce(i.number::<u8>("first") == 1).map(|()| vec![])
}

fn again(i: &Inputs) -> Outcome {
    let answered = i.has("answered").then(|| i.fixed("answered"));
    let again = repetition(i.number::<u8>("alive") == 1, answered, i.fixed("this"))?;
    Ok(vec![word("out-again", u8::from(again))])
}

fn standing(i: &Inputs) -> Outcome {
    device(DeviceState::from_word(i.word("state"))).map(|()| vec![])
}
