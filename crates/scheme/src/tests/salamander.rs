//! One ciphertext under two keys ("invisible salamanders": Dodis, Grubbs, Ristenpart, Woodage,
//! *Fast Message Franking*, 2018): AES-GCM opens it with both, the serial layer with one.

use aes::Aes256;
use aes::cipher::{BlockEncrypt, KeyInit};

use crate::Reason;
use crate::bond::Bond;
use crate::cose::encrypt::{Encrypted, Recipient};
use crate::cose::gcm::{self, ZERO_IV};
use crate::cose::kdf::{self, Context, Parties};
use crate::direction::Direction;
use crate::epoch::{ChainKey, EpochKeys, EpochSecret};
use crate::id::{DeviceId, ServerId};
use crate::keys::{DecryptionPublic, P256Private, SigningPublic};
use crate::message::Outer;
use crate::message::aad::{Frame, Layer};
use crate::message::serial_layer::SerialLayer;
use crate::secret::{Secret, extract};
use crate::serial::HardwareSerial;

/// What a sender who holds the keys of two epochs, or of two chips, can make.
#[test]
fn a_ciphertext_under_two_keys_opens_with_the_one_that_it_commits_to() {
    let bond = bond();
    let [one, other] = [1, 2].map(|seed| epoch(&bond, seed));
    let frame = |keys| Frame::new(&bond, keys, Outer::Serial, Direction::Up, 1);
    let (one, other) = (frame(&one), frame(&other));
    let salt = [7; 32];
    let (key, commitment) = derived(&one, &salt);
    let (other_key, other_commitment) = derived(&other, &salt);

    for (of, commitment, not, keys) in [
        (&one, commitment, &other, [&key, &other_key]),
        (&other, other_commitment, &one, [&other_key, &key]),
    ] {
        let recipient = || Recipient::Direct { salt, commitment };
        // The associated data is what the layer has; both frames have the same.
        let aad = of.aad(Layer::Outer);
        assert_eq!(aad, not.aad(Layer::Outer));
        let associated = crate::cose::encrypt::enc_structure(&recipient(), &aad);
        let ciphertext = salamander(keys, &associated);
        let opened = keys.map(|key| {
            gcm::open(key, &ZERO_IV, &ciphertext, &associated, Reason::BadSerialLayer).unwrap()
        });
        assert_ne!(opened[0], opened[1], "bare AES-GCM opens it twice");

        let bytes = Encrypted { recipient: recipient(), ciphertext }.encode();
        let open = |frame| SerialLayer::new(frame, Layer::Outer).open(&bytes);
        assert_eq!(open(of).as_ref(), Ok(&opened[0]));
        assert_eq!(open(not), Err(Reason::BadCommitment));
    }
}

fn bond() -> Bond {
    let key = || P256Private::from_scalar(&[5; 32]).unwrap().public().clone();
    Bond {
        server_id: ServerId([1; 32]),
        device_id: DeviceId([2; 16]),
        serial: HardwareSerial::from_bytes([3; 32]),
        generation: 1,
        keyset: 1,
        signing: SigningPublic::Es256(key()),
        decryption: DecryptionPublic::EcdhEs(key()),
    }
}

/// Two of them differ in the chip's part only.
fn epoch(bond: &Bond, seed: u8) -> EpochKeys {
    let chain = ChainKey::of_bond(&Secret::new([seed; 32]), bond).ratchet(1).unwrap();
    let z = EpochSecret::new(&Secret::new([8; 32]), &Secret::new([9; 32]), &[6; 32]);
    EpochKeys::new(&chain, &z, 1, [6; 32])
}

/// Content key and commitment, as docs/scheme.md section 6 has them.
fn derived(frame: &Frame<'_>, salt: &[u8; 32]) -> (Secret, [u8; 32]) {
    let prk = extract(salt, frame.key.expose());
    let parties =
        Parties { sender: Some(&frame.bond.device_id.0), receiver: &frame.bond.server_id.0 };
    let aad = frame.aad(Layer::Outer);
    let protected = crate::cose::encrypt::PROTECTED_DIRECT_HKDF;
    let context = Context::new(parties, protected, &[&aad]);
    (kdf::content_key(&prk, &context), kdf::commitment(&prk, &context))
}

/// Two blocks of ciphertext and a tag that verifies under both keys. The first block is any;
/// the second is the solution of the one linear equation that says that both tags are the same.
fn salamander(keys: [&Secret; 2], associated: &[u8]) -> Vec<u8> {
    const FIRST: u128 = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef;
    let lengths = (associated.len() as u128 * 8) << 64 | 256;
    let [(h, sum), (other_h, other_sum)] = keys.map(|key| {
        let cipher = Aes256::new(key.expose().into());
        let encrypt = |block: u128| {
            let mut block = block.to_be_bytes().into();
            cipher.encrypt_block(&mut block);
            u128::from_be_bytes(block.into())
        };
        // GHASH with zero for the second block (SP 800-38D, section 6.4), and the tag's mask.
        let h = encrypt(0);
        let padded = associated.chunks(16).map(|chunk| {
            let mut block = [0; 16];
            block[..chunk.len()].copy_from_slice(chunk);
            u128::from_be_bytes(block)
        });
        let blocks = padded.chain([FIRST, 0, lengths]);
        (h, blocks.fold(0, |hash, block| times(hash ^ block, h)) ^ encrypt(1))
    });
    // The second block counts with the square of H: it is multiplied once for itself and once
    // for the lengths.
    let difference = times(h, h) ^ times(other_h, other_h);
    let second = times(sum ^ other_sum, inverse(difference));
    let tag = sum ^ times(second, times(h, h));
    [FIRST, second, tag].map(u128::to_be_bytes).concat()
}

/// Multiplication in GCM's field (SP 800-38D, section 6.3): the first bit is that of x^0.
fn times(a: u128, mut b: u128) -> u128 {
    let mut product = 0;
    for bit in (0..128).rev() {
        if a >> bit & 1 == 1 {
            product ^= b;
        }
        b = if b & 1 == 1 { b >> 1 ^ 0xe1 << 120 } else { b >> 1 };
    }
    product
}

/// a^(2^128 - 2): the field has 2^128 elements.
fn inverse(a: u128) -> u128 {
    let (mut result, mut power) = (1 << 127, a);
    for _ in 1..128 {
        power = times(power, power);
        result = times(result, power);
    }
    result
}
