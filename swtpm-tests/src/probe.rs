//! What a probe on the TPM's bus can read that has no key: everything in clear, and what sessions
//! without salt and binding encrypt, whose keys follow from the nonces (Part 1, section 21).

use std::collections::HashMap;

use aes::Aes128;
use cfb_mode::cipher::{AsyncStreamCipher, KeyIvInit};
use hmac::{Hmac, Mac};
use sha2::{Sha256, Sha384};

use crate::tap::Exchange;

const START_AUTH_SESSION: u32 = 0x176;
const TPM_RH_NULL: u32 = 0x4000_0007;
const SHA384: u16 = 0x000c;
/// TPMA_SESSION: the first parameter of the command, of the answer, is encrypted.
const DECRYPT: u8 = 1 << 5;
const ENCRYPT: u8 = 1 << 6;

/// A session whose key anybody can compute.
struct Open {
    hash: u16,
    nonce_tpm: Vec<u8>,
}

/// All that a probe makes of these exchanges: each command, each answer, each parameter that it
/// could decrypt.
pub fn readable(exchanges: &[Exchange]) -> Vec<Vec<u8>> {
    let mut sessions = HashMap::new();
    let mut seen = Vec::new();
    for exchange in exchanges {
        seen.push(exchange.command.clone());
        seen.push(exchange.response.clone());
        if exchange.response_code() == 0 {
            // What is no session, or has another form, is in clear anyway.
            let _ = note(exchange, &mut sessions);
            let _ = decrypt(exchange, &mut sessions, &mut seen);
        }
    }
    seen
}

/// Whether one of them holds these bytes.
pub fn holds(seen: &[Vec<u8>], secret: &[u8]) -> bool {
    seen.iter().any(|bytes| bytes.windows(secret.len()).any(|window| window == secret))
}

/// Remembers a session that has neither salt nor binding.
fn note(exchange: &Exchange, sessions: &mut HashMap<u32, Open>) -> Option<()> {
    if exchange.command_code() != START_AUTH_SESSION {
        return None;
    }
    let mut command = Reader(exchange.command.get(10..)?);
    let (key, bind) = (command.u32()?, command.u32()?);
    let mut response = Reader(exchange.response.get(10..)?);
    let handle = response.u32()?;
    sessions.remove(&handle);
    if (key, bind) != (TPM_RH_NULL, TPM_RH_NULL) {
        return None;
    }
    let hash = exchange.command.last_chunk::<2>().map(|hash| u16::from_be_bytes(*hash))?;
    sessions.insert(handle, Open { hash, nonce_tpm: response.sized()?.to_vec() });
    Some(())
}

fn decrypt(
    exchange: &Exchange,
    sessions: &mut HashMap<u32, Open>,
    seen: &mut Vec<Vec<u8>>,
) -> Option<()> {
    let has_sessions = |message: &[u8]| message.starts_with(&[0x80, 0x02]);
    if !has_sessions(&exchange.command) || !has_sessions(&exchange.response) {
        return None;
    }
    let (inputs, outputs) = handles(exchange.command_code())?;
    let mut command = Reader(exchange.command.get(10 + 4 * inputs..)?);
    let size = command.u32()? as usize;
    let (auths, parameters) = command.0.split_at_checked(size)?;
    let mut response = Reader(exchange.response.get(10 + 4 * outputs..)?);
    let size = response.u32()? as usize;
    let (answers, answered) = response.0.split_at_checked(size)?;
    let (mut auths, mut answered) = (Reader(auths), Reader(answered));
    while !auths.0.is_empty() {
        let (handle, nonce_caller, attributes) = (auths.u32()?, auths.sized()?, auths.u8()?);
        auths.sized()?;
        let nonce_new = answered.sized()?;
        answered.u8()?;
        answered.sized()?;
        let Some(session) = sessions.get_mut(&handle) else { continue };
        if attributes & DECRYPT != 0 {
            let first = Reader(parameters).sized()?;
            seen.push(plain(session.hash, nonce_caller, &session.nonce_tpm, first)?);
        }
        if attributes & ENCRYPT != 0 {
            let first = Reader(answers).sized()?;
            seen.push(plain(session.hash, nonce_new, nonce_caller, first)?);
        }
        session.nonce_tpm = nonce_new.to_vec();
    }
    Some(())
}

/// Handles of a command and of its answer, for the commands that may carry a secret in their
/// first parameter (Part 3).
fn handles(code: u32) -> Option<(usize, usize)> {
    match code {
        // CreatePrimary; NV_DefineSpace, Create, ECDH_ZGen, RSA_Decrypt, Sign, NV_Increment.
        0x131 => Some((1, 1)),
        0x12a | 0x153 | 0x154 | 0x159 | 0x15d => Some((1, 0)),
        // Load; ActivateCredential, Certify, NV_Read, PolicySecret; GetRandom.
        0x157 => Some((1, 1)),
        0x147 | 0x148 | 0x14e | 0x134 | 0x151 => Some((2, 0)),
        0x17b => Some((0, 0)),
        _ => None,
    }
}

/// AES-128-CFB under KDFa(no session key, "CFB", the newer nonce, the older nonce).
fn plain(hash: u16, newer: &[u8], older: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let input = [&[0, 0, 0, 1][..], b"CFB\0", newer, older, &[0, 0, 1, 0]].concat();
    let key = match hash {
        SHA384 => Hmac::<Sha384>::new_from_slice(&[])
            .ok()?
            .chain_update(input)
            .finalize()
            .into_bytes()
            .to_vec(),
        _ => Hmac::<Sha256>::new_from_slice(&[])
            .ok()?
            .chain_update(input)
            .finalize()
            .into_bytes()
            .to_vec(),
    };
    let mut bytes = sealed.to_vec();
    let cipher = cfb_mode::Decryptor::<Aes128>::new_from_slices(key.get(..16)?, key.get(16..32)?);
    cipher.ok()?.decrypt(&mut bytes);
    Some(bytes)
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// A TPM2B.
    fn sized(&mut self) -> Option<&'a [u8]> {
        let len = self.u16()?;
        self.take(len.into())
    }
}
