//! A device and a server in memory: a chip made of software keys, for tests of the pure scheme.

use rand_core::OsRng;
use twinseal_scheme::bond::Bond;
use twinseal_scheme::epoch::{ChainKey, EpochKeys, EpochOpening, VerifiedEpochOpen};
use twinseal_scheme::id::DeviceId;
use twinseal_scheme::keys::{
    DecryptionPublic, Encapsulation, KemPrivate, P256Private, SigningKey, SigningPublic,
    random_scalar,
};
use twinseal_scheme::message::{DownOpening, Envelope, Opened, Outer, open_up, seal_down, seal_up};
use twinseal_scheme::serial::HardwareSerial;
use twinseal_scheme::server_keys::ServerKeys;
use twinseal_scheme::{Reason, Secret};

/// Everything that both sides of one bond hold, secrets included.
pub struct Parties {
    pub bond: Bond,
    pub server_keys: ServerKeys,
    pub device_signing: SigningKey,
    pub device_decryption: P256Private,
    pub server_signing: SigningKey,
    pub server_encryption: P256Private,
    pub server_kem: KemPrivate,
    pub identity: SigningKey,
    pub chain: ChainKey,
}

pub fn signing_key() -> SigningKey {
    SigningKey::from_scalar(&random_scalar(&mut OsRng)).unwrap()
}

impl Parties {
    pub fn new(serial: [u8; 32]) -> Parties {
        let (identity, server_signing) = (signing_key(), signing_key());
        let server_encryption = P256Private::generate(&mut OsRng);
        let (server_kem, _) = KemPrivate::generate().unwrap();
        let server_keys = ServerKeys {
            sequence: 1_700_000_000,
            min_sequence: 0,
            signing: server_signing.public().clone(),
            encryption: server_encryption.public().clone(),
            kem: server_kem.public().clone(),
            identity: identity.public().clone(),
        };
        let device_signing = signing_key();
        let device_decryption = P256Private::generate(&mut OsRng);
        let bond = Bond {
            server_id: server_keys.server_id(),
            device_id: DeviceId([7; 16]),
            serial: HardwareSerial::from_bytes(serial),
            generation: 1,
            keyset: 1,
            signing: SigningPublic::Es256(device_signing.public().clone()),
            decryption: DecryptionPublic::EcdhEs(device_decryption.public().clone()),
        };
        let chain = ChainKey::of_bond(&Secret::new([9; 32]), &bond);
        Parties {
            bond,
            server_keys,
            device_signing,
            device_decryption,
            server_signing,
            server_encryption,
            server_kem,
            identity,
            chain,
        }
    }

    /// Opens an epoch on both sides; gives the device's and the server's keys.
    pub fn epoch(&self, number: u64) -> (EpochKeys, EpochKeys) {
        let chain = self.chain.ratchet(number).unwrap();
        let (bytes, device) = self.epoch_open(&chain);
        (device, self.server_epoch(&bytes, &chain, &chain))
    }

    /// The device's part of an epoch's beginning.
    pub fn epoch_open(&self, chain: &ChainKey) -> (Vec<u8>, EpochKeys) {
        let opening = EpochOpening::draw(&self.server_keys, &mut OsRng).unwrap();
        let unsigned = opening.seal(&self.bond, chain, None, &mut OsRng).unwrap();
        let signature = self.sign_digest(&unsigned.digest());
        unsigned.finish(&signature).unwrap()
    }

    /// The server's part; the keys are derived from another chain key where a test wants that.
    pub fn server_epoch(&self, bytes: &[u8], chain: &ChainKey, of: &ChainKey) -> EpochKeys {
        let envelope = Envelope::decode(bytes).unwrap();
        let verified = VerifiedEpochOpen::verify(&self.bond, &envelope).unwrap();
        let open = verified.open(chain).unwrap();
        let ecdh = self.server_encryption.agree(&open.epoch_key).unwrap();
        let kem = self.server_kem.decapsulate(&open.kem_ciphertext).unwrap();
        verified.keys(of, &ecdh, &kem)
    }

    /// What the chip does: signs a digest.
    pub fn sign_digest(&self, digest: &[u8; 32]) -> Vec<u8> {
        self.device_signing.sign_digest(digest).unwrap().to_vec()
    }

    pub fn up(&self, keys: &EpochKeys, outer: Outer, seq: u32, content: &[u8]) -> Vec<u8> {
        let unsigned = seal_up(&self.bond, keys, outer, seq, content, &mut OsRng).unwrap();
        let signature = self.sign_digest(&unsigned.digest());
        unsigned.finish(&signature).unwrap()
    }

    pub fn open_up(&self, keys: &EpochKeys, bytes: &[u8]) -> Result<Opened, Reason> {
        open_up(&self.bond, keys, &Envelope::decode(bytes)?)
    }

    pub fn down(&self, keys: &EpochKeys, outer: Outer, seq: u32, content: &[u8]) -> Vec<u8> {
        let unsigned = seal_down(&self.bond, keys, outer, seq, content);
        let signature = self.server_signing.sign(unsigned.to_sign()).unwrap();
        unsigned.finish(&signature, &mut OsRng).unwrap()
    }

    pub fn open_down(&self, keys: &EpochKeys, bytes: &[u8]) -> Result<Opened, Reason> {
        let envelope = Envelope::decode(bytes)?;
        let opening = DownOpening::begin(&self.bond, keys, &envelope)?;
        let z = match opening.encapsulation() {
            Encapsulation::EcdhEs(ephemeral) => self.device_decryption.agree(ephemeral)?,
            Encapsulation::RsaOaep(..) => panic!("this device has no RSA key"),
        };
        opening.finish(&z, &self.server_keys.signing)
    }
}
