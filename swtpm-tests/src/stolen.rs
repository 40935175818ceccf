//! What a thief reads of an agent's disk who has its state key, too.

use std::path::Path;

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Key, Nonce};
use rusqlite::types::FromSql;
use tempfile::TempDir;

/// A copy of an agent's state folder, and its state key.
#[derive(Debug)]
pub struct StolenState {
    database: rusqlite::Connection,
    key: Vec<u8>,
    _copy: TempDir,
}

impl StolenState {
    /// Copies a state folder, whose key lies beside it; its agent may go on running.
    pub fn of(folder: &Path) -> Self {
        let key = std::fs::read(folder.with_file_name("state.key")).expect("the state key");
        let copy = tempfile::tempdir().expect("a temporary folder");
        for entry in std::fs::read_dir(folder).expect("the state folder") {
            let path = entry.expect("a file").path();
            let to = copy.path().join(path.file_name().expect("a name"));
            std::fs::copy(&path, to).expect("a copy");
        }
        let database = rusqlite::Connection::open(copy.path().join("state.sqlite"));
        Self { database: database.expect("a database"), key, _copy: copy }
    }

    /// What is in one column of the device's row.
    pub fn column<T: FromSql>(&self, column: &str) -> T {
        let query = format!("SELECT {column} FROM device");
        self.database.query_row(&query, [], |row| row.get(0)).expect("the device's row")
    }

    /// The keys of the device as the agent stores them: the chip's blobs, and what authorises
    /// their use.
    pub fn keys(&self) -> Vec<u8> {
        // As the agent encrypts what it stores: nonce, then AES-256-GCM bound to the place.
        let sealed: Vec<u8> = self.column("keys");
        let cipher = Aes256Gcm::new(Key::<Aes256Gcm>::from_slice(&self.key));
        let (nonce, body) = sealed.split_at(12);
        let payload = Payload { msg: body, aad: b"device keys" };
        cipher.decrypt(Nonce::from_slice(nonce), payload).expect("the state key opens it")
    }
}
