//! TPM commands as bytes, for what no library sends (TPM 2.0 Part 3; structures of Part 2).

use std::io::{Read, Write};
use std::net::TcpStream;

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use twinseal_swtpm_tests::{Swtpm, Tap};

pub const OWNER: u32 = 0x4000_0001;
pub const NULL: u32 = 0x4000_0007;
pub const ENDORSEMENT: u32 = 0x4000_000b;
pub const CREATE_PRIMARY: u32 = 0x131;
pub const REWRAP: u32 = 0x152;
pub const CREATE: u32 = 0x153;
pub const DUPLICATE: u32 = 0x14b;
pub const LOAD: u32 = 0x157;
const ECDH_ZGEN: u32 = 0x154;
const RSA_DECRYPT: u32 = 0x159;
const FLUSH_CONTEXT: u32 = 0x165;
const POLICY_COMMAND_CODE: u32 = 0x16c;
const START_AUTH_SESSION: u32 = 0x176;
/// TPM_RS_PW.
const PASSWORD: u32 = 0x4000_0009;

/// A connection to a chip. It serves one at a time.
pub struct Raw(TcpStream);

/// Who authorises a command's first handle.
#[derive(Clone, Copy)]
pub enum By<'a> {
    Password(&'a [u8]),
    Policy(u32),
}

/// An answer: TPM_RC, and what follows the header.
#[derive(Debug)]
pub struct Answer {
    pub code: u32,
    rest: Vec<u8>,
}

impl Raw {
    pub fn connect(chip: &Swtpm) -> Raw {
        Raw(TcpStream::connect(("127.0.0.1", chip.port())).unwrap())
    }

    /// By way of a tap, which sees all of it.
    pub fn through(tap: &Tap) -> Raw {
        let tcti = tap.tcti();
        let port = tcti.rsplit('=').next().unwrap().parse::<u16>().unwrap();
        Raw(TcpStream::connect(("127.0.0.1", port)).unwrap())
    }

    /// TPM2_ECDH_ZGen, its answer encrypted in a session that anybody can open.
    pub fn agree_unsalted(&mut self, key: u32, auth: &[u8], public: &[u8], point: &[u8; 65]) {
        let point = [sized(&point[1..33]), sized(&point[33..])].concat();
        self.send_unsalted(ECDH_ZGEN, key, auth, public, &sized(&point));
    }

    /// TPM2_RSA_Decrypt, its answer encrypted in a session that anybody can open.
    pub fn decrypt_unsalted(&mut self, key: u32, auth: &[u8], public: &[u8], ciphertext: &[u8]) {
        // The key's own scheme, and no label.
        let parameters = [&sized(ciphertext)[..], &[0, 0x10], &[0, 0]].concat();
        self.send_unsalted(RSA_DECRYPT, key, auth, public, &parameters);
    }

    /// The key is authorised by its password; an HMAC session without salt or binding encrypts
    /// the answer.
    fn send_unsalted(
        &mut self,
        code: u32,
        key: u32,
        auth: &[u8],
        public: &[u8],
        parameters: &[u8],
    ) {
        let nonce = [9; 32];
        // TPM_SE_HMAC, AES-128-CFB, SHA-256.
        let symmetric = [0, 0, 0, 0, 6, 0, 0x80, 0, 0x43, 0, 0x0b];
        let session = self.plain(
            START_AUTH_SESSION,
            &[NULL, NULL],
            &[&sized(&nonce)[..], &symmetric].concat(),
        );
        let handle = session.handle();
        let nonce_tpm = &session.rest[6..];
        // Part 1, section 19.6: the HMAC's key is empty, as the session key is, and it authorises
        // nothing.
        let name = [&[0, 0x0b][..], &Sha256::digest(public)].concat();
        let hash = Sha256::digest([&code.to_be_bytes()[..], &name, parameters].concat());
        let attributes = [0x41];
        let hmac = Hmac::<Sha256>::new_from_slice(&[]).unwrap();
        let hmac = hmac.chain_update(hash).chain_update(nonce).chain_update(nonce_tpm);
        let hmac = hmac.chain_update(attributes).finalize().into_bytes();
        let password = authorisation(PASSWORD, auth);
        let session = [&handle.to_be_bytes()[..], &sized(&nonce), &attributes, &sized(&hmac)];
        let auths = [password, session.concat()].concat();
        let size = u32::try_from(auths.len()).unwrap().to_be_bytes();
        let rest = [&size[..], &auths, parameters].concat();
        assert_eq!(self.exchange(0x8002, code, &[key], &rest).code, 0);
        self.flush(handle);
    }

    /// Sends a command whose first handle is authorised.
    pub fn send(&mut self, code: u32, handles: &[u32], by: By<'_>, parameters: &[u8]) -> Answer {
        let auth = match by {
            By::Password(password) => authorisation(PASSWORD, password),
            By::Policy(session) => authorisation(session, &[]),
        };
        let size = u32::try_from(auth.len()).unwrap().to_be_bytes();
        self.exchange(0x8002, code, handles, &[&size, &auth[..], parameters].concat())
    }

    /// Sends a command without authorisation.
    pub fn plain(&mut self, code: u32, handles: &[u32], parameters: &[u8]) -> Answer {
        self.exchange(0x8001, code, handles, parameters)
    }

    pub fn flush(&mut self, handle: u32) {
        assert_eq!(self.plain(FLUSH_CONTEXT, &[handle], &[]).code, 0);
    }

    /// A policy session that allows one command.
    pub fn policy(&mut self, command: u32) -> u32 {
        // No salt, no binding; a nonce, no secret, TPM_SE_POLICY, no symmetric cipher, SHA-256.
        let parameters = [&sized(&[7; 16])[..], &[0, 0, 1, 0, 0x10, 0, 0x0b]].concat();
        let session = self.plain(START_AUTH_SESSION, &[NULL, NULL], &parameters).handle();
        let allowed = self.plain(POLICY_COMMAND_CODE, &[session], &command.to_be_bytes());
        assert_eq!(allowed.code, 0);
        session
    }

    /// A primary key of this template, TPMT_PUBLIC.
    pub fn primary(&mut self, hierarchy: u32, template: &[u8]) -> u32 {
        // An empty authValue and no data; no outside info, no PCRs.
        let parameters = [&[0, 4, 0, 0, 0, 0][..], &sized(template), &[0; 6]].concat();
        self.send(CREATE_PRIMARY, &[hierarchy], By::Password(&[]), &parameters).handle()
    }

    /// Loads a child.
    pub fn load(&mut self, parent: u32, private: &[u8], public: &[u8]) -> u32 {
        let parameters = [sized(private), sized(public)].concat();
        self.send(LOAD, &[parent], By::Password(&[]), &parameters).handle()
    }

    fn exchange(&mut self, tag: u16, code: u32, handles: &[u32], rest: &[u8]) -> Answer {
        let size = u32::try_from(10 + 4 * handles.len() + rest.len()).unwrap();
        let mut command =
            [&tag.to_be_bytes()[..], &size.to_be_bytes(), &code.to_be_bytes()].concat();
        handles.iter().for_each(|handle| command.extend(handle.to_be_bytes()));
        command.extend(rest);
        self.0.write_all(&command).unwrap();
        let mut header = [0; 10];
        self.0.read_exact(&mut header).unwrap();
        let word = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().unwrap());
        let mut rest = vec![0; word(2) as usize - 10];
        self.0.read_exact(&mut rest).unwrap();
        Answer { code: word(6), rest }
    }
}

impl Answer {
    /// Of a command that gives a handle, which must have succeeded.
    pub fn handle(&self) -> u32 {
        assert_eq!(self.code, 0, "{self:?}");
        u32::from_be_bytes(self.rest[..4].try_into().unwrap())
    }

    /// The sized parameters of a command with a session and no handle in its answer, which must
    /// have succeeded.
    pub fn fields(&self, count: usize) -> Vec<Vec<u8>> {
        assert_eq!(self.code, 0, "{self:?}");
        // The size of all parameters stands before them.
        let mut rest = &self.rest[4..];
        let mut fields = Vec::new();
        for _ in 0..count {
            let (size, tail) = rest.split_first_chunk::<2>().unwrap();
            let (field, tail) = tail.split_at(u16::from_be_bytes(*size).into());
            fields.push(field.to_vec());
            rest = tail;
        }
        fields
    }
}

/// Handle, no nonce, continueSession, the password.
fn authorisation(session: u32, password: &[u8]) -> Vec<u8> {
    [&session.to_be_bytes()[..], &[0, 0, 1], &sized(password)].concat()
}

/// A TPM2B.
pub fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}
