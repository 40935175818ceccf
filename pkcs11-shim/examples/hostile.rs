//! A program that the address sanitizer watches: it loads the module and calls it with arguments
//! that lie, in wrong states, and with buffers on the heap that are exactly as long as it says, so
//! that a byte too many is seen. `hostile MODULE` wants an agent that lets this user make keys;
//! `hostile overflow` reads a byte too many itself, for which the sanitizer must end it.
#![allow(unsafe_code, missing_docs)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "hostile/calls.rs"]
mod calls;
#[path = "hostile/objects.rs"]
mod objects;

use std::hint::black_box;
use std::ptr::null_mut;

use calls::{Attributes, Program, ask, call, mechanism};
use cryptoki_sys::*;

/// A length that nothing has.
const ABSURD: CK_ULONG = CK_ULONG::MAX;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("overflow") => overflow(),
        Some(module) => play(&Program::load(module)),
        None => panic!("hostile MODULE, or hostile overflow"),
    }
}

/// Reads behind the end of a buffer.
fn overflow() {
    let buffer: Box<[u8]> = black_box(vec![7; 32].into_boxed_slice());
    // SAFETY: there is none; this is what the sanitizer is for.
    println!("not seen: {}", unsafe { black_box(buffer.as_ptr()).add(32).read_volatile() });
}

fn play(program: &Program) {
    let l = &program.list;
    assert_eq!(call!(l, C_GetInfo(null_mut())), CKR_CRYPTOKI_NOT_INITIALIZED);
    assert_eq!(call!(l, C_Initialize(null_mut())), CKR_OK);
    objects::infos(l);
    let session = program.session();
    digests(program, session);
    random(program, session);
    let ec = program.key_pair(session, false, &[CKA_SIGN]);
    let deriving = program.key_pair(session, false, &[CKA_DERIVE]);
    let rsa = program.key_pair(session, true, &[CKA_SIGN, CKA_DECRYPT]);
    signatures(program, session, ec.1, rsa.1);
    decryptions(program, session, rsa.1);
    let secret = agreement(program, session, deriving);
    objects::attributes(l, session, &[ec.0, ec.1, deriving.0, rsa.0, rsa.1, secret]);
    objects::found(l, session);
    objects::certificates(l, session);
    lies(program, session, ec.1);
    threads(program, ec.1);
    for pair in [ec, deriving, rsa] {
        assert_eq!(call!(l, C_DestroyObject(session, pair.1)), CKR_OK);
        assert_eq!(call!(l, C_DestroyObject(session, pair.1)), CKR_OBJECT_HANDLE_INVALID);
    }
    assert_eq!(call!(l, C_CloseSession(session)), CKR_OK);
    assert_eq!(call!(l, C_CloseSession(session)), CKR_SESSION_HANDLE_INVALID);
    assert_eq!(call!(l, C_Finalize(null_mut())), CKR_OK);
    println!("done");
}

fn digests(program: &Program, session: CK_SESSION_HANDLE) {
    let l = &program.list;
    for (kind, length) in [(CKM_SHA_1, 20), (CKM_SHA256, 32), (CKM_SHA384, 48), (CKM_SHA512, 64)] {
        for data in [0, 1, 63, 64, 1000] {
            let data = vec![7; data].into_boxed_slice();
            let (at, data_length) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
            let mut chosen = mechanism(kind, &[]);
            assert_eq!(call!(l, C_DigestInit(session, chosen.at())), CKR_OK);
            assert_eq!(call!(l, C_DigestInit(session, chosen.at())), CKR_OPERATION_ACTIVE);
            let whole = ask(|to, len| call!(l, C_Digest(session, at, data_length, to, len)));
            assert_eq!(call!(l, C_DigestInit(session, chosen.at())), CKR_OK);
            assert_eq!(call!(l, C_DigestUpdate(session, at, data_length)), CKR_OK);
            let parts = ask(|to, len| call!(l, C_DigestFinal(session, to, len)));
            assert_eq!(whole, parts);
            assert_eq!(whole.unwrap().len(), length);
        }
    }
}

fn random(program: &Program, session: CK_SESSION_HANDLE) {
    for length in [0, 1, 32, 1023, 1024, 1025, 3000] {
        let mut room = vec![0; length].into_boxed_slice();
        let (at, length) = (room.as_mut_ptr(), room.len() as CK_ULONG);
        assert_eq!(call!(program.list, C_GenerateRandom(session, at, length)), CKR_OK);
        assert!(room.len() < 32 || room.iter().any(|byte| *byte != 0));
    }
}

/// In one part and in several, of digests and of what becomes one.
fn signatures(
    program: &Program,
    session: CK_SESSION_HANDLE,
    ec: CK_OBJECT_HANDLE,
    rsa: CK_OBJECT_HANDLE,
) {
    let l = &program.list;
    let pss = CK_RSA_PKCS_PSS_PARAMS { hashAlg: CKM_SHA256, mgf: CKG_MGF1_SHA256, sLen: 32 };
    let pss = calls::bytes_of(&pss);
    let wrong = |value| Err::<(), CK_RV>(value);
    for (key, kind, parameter, data, expected) in [
        (ec, CKM_ECDSA, &[][..], 32, Ok(())),
        (ec, CKM_ECDSA, &[], 1, Ok(())),
        (ec, CKM_ECDSA, &[], 65, wrong(CKR_DATA_LEN_RANGE)),
        (ec, CKM_ECDSA_SHA256, &[], 500, Ok(())),
        (rsa, CKM_SHA256_RSA_PKCS, &[], 500, Ok(())),
        (rsa, CKM_RSA_PKCS, &[], 32, wrong(CKR_DATA_INVALID)),
        (rsa, CKM_RSA_PKCS, &[], 0, wrong(CKR_DATA_INVALID)),
        (rsa, CKM_RSA_PKCS_PSS, &pss, 32, Ok(())),
        (rsa, CKM_RSA_PKCS_PSS, &pss, 31, wrong(CKR_DATA_LEN_RANGE)),
        (rsa, CKM_SHA256_RSA_PKCS_PSS, &pss, 0, Ok(())),
    ] {
        let data = vec![7; data].into_boxed_slice();
        let (at, length) = (data.as_ptr().cast_mut(), data.len() as CK_ULONG);
        let begin = || call!(l, C_SignInit(session, mechanism(kind, parameter).at(), key));
        assert_eq!(begin(), CKR_OK);
        assert_eq!(begin(), CKR_OPERATION_ACTIVE);
        let whole = ask(|to, len| call!(l, C_Sign(session, at, length, to, len)));
        assert_eq!(whole.map(drop), expected, "{kind:#x} of {length}");
        assert_eq!(begin(), CKR_OK);
        if call!(l, C_SignUpdate(session, at, length)) == CKR_OK {
            let parts = ask(|to, len| call!(l, C_SignFinal(session, to, len)));
            assert_eq!(parts.map(drop), expected, "{kind:#x} of {length}, in parts");
        }
    }
    // Parameters cut short, and too long.
    for cut in 0..pss.len() {
        let mut chosen = mechanism(CKM_RSA_PKCS_PSS, &pss[..cut]);
        let refused = call!(l, C_SignInit(session, chosen.at(), rsa));
        assert_eq!(refused, CKR_MECHANISM_PARAM_INVALID, "{cut}");
    }
}

fn decryptions(program: &Program, session: CK_SESSION_HANDLE, rsa: CK_OBJECT_HANDLE) {
    let l = &program.list;
    let label = vec![0; 7].into_boxed_slice();
    for length in [0, 1, 255, 256, 257, 5000] {
        let oaep = CK_RSA_PKCS_OAEP_PARAMS {
            hashAlg: CKM_SHA256,
            mgf: CKG_MGF1_SHA256,
            source: CKZ_DATA_SPECIFIED,
            pSourceData: label.as_ptr().cast_mut().cast(),
            ulSourceDataLen: label.len() as CK_ULONG,
        };
        let mut chosen = mechanism(CKM_RSA_PKCS_OAEP, &calls::bytes_of(&oaep));
        assert_eq!(call!(l, C_DecryptInit(session, chosen.at(), rsa)), CKR_OK);
        let junk = vec![7; length].into_boxed_slice();
        let (at, length) = (junk.as_ptr().cast_mut(), junk.len() as CK_ULONG);
        let mut room = Box::new(256);
        let mut plain = vec![0; 256].into_boxed_slice();
        let to = plain.as_mut_ptr();
        let refused = call!(l, C_Decrypt(session, at, length, to, &mut *room));
        let expected = [CKR_ENCRYPTED_DATA_LEN_RANGE, CKR_ENCRYPTED_DATA_INVALID];
        assert!(expected.contains(&refused), "{length}: {refused:#x}");
        let ended = call!(l, C_Decrypt(session, at, length, to, &mut *room));
        assert_eq!(ended, CKR_OPERATION_NOT_INITIALIZED);
    }
}

/// Agrees with its own public half, and with points that are none.
fn agreement(
    program: &Program,
    session: CK_SESSION_HANDLE,
    pair: (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE),
) -> CK_OBJECT_HANDLE {
    let l = &program.list;
    let point = objects::value(l, session, pair.0, CKA_EC_POINT).expect("a point");
    let derive = |point: &[u8]| {
        let point: Box<[u8]> = point.into();
        let ecdh = CK_ECDH1_DERIVE_PARAMS {
            kdf: CKD_NULL,
            ulSharedDataLen: 0,
            pSharedData: null_mut(),
            ulPublicDataLen: point.len() as CK_ULONG,
            pPublicData: point.as_ptr().cast_mut(),
        };
        let mut template = Attributes::default().number(CKA_CLASS, CKO_SECRET_KEY);
        template = template.number(CKA_KEY_TYPE, CKK_GENERIC_SECRET).flag(CKA_TOKEN, false);
        let mut given = template.given();
        let mut chosen = mechanism(CKM_ECDH1_DERIVE, &calls::bytes_of(&ecdh));
        let (at, count) = (given.at(), given.count());
        let mut secret = Box::new(0);
        match call!(l, C_DeriveKey(session, chosen.at(), pair.1, at, count, &mut *secret)) {
            CKR_OK => Ok(*secret),
            refused => Err(refused),
        }
    };
    for cut in 0..point.len() {
        // Of the length of a point without OCTET STRING, so that the agent has to refuse it.
        let expected = if cut == 65 { CKR_DATA_INVALID } else { CKR_MECHANISM_PARAM_INVALID };
        assert_eq!(derive(&point[..cut]), Err(expected), "{cut}");
    }
    let mut off_the_curve = point.clone();
    *off_the_curve.last_mut().unwrap() ^= 1;
    assert!(derive(&off_the_curve).is_err());
    assert_eq!(derive(&point[2..]).map(drop), Ok(()), "without its OCTET STRING");
    derive(&point).expect("its own public half")
}

/// Good calls, of which one argument lies.
fn lies(program: &Program, session: CK_SESSION_HANDLE, key: CK_OBJECT_HANDLE) {
    let l = &program.list;
    let bad = CKR_ARGUMENTS_BAD;
    let data = vec![7; 32].into_boxed_slice();
    let mut room = vec![0; 64].into_boxed_slice();
    let (at, to, mut length) = (data.as_ptr().cast_mut(), room.as_mut_ptr(), Box::new(64));
    let begin = || call!(l, C_SignInit(session, mechanism(CKM_ECDSA, &[]).at(), key));
    assert_eq!(begin(), CKR_OK);
    assert_eq!(call!(l, C_Sign(session, null_mut(), 32, to, &mut *length)), bad);
    assert_eq!(call!(l, C_Sign(session, at, ABSURD, to, &mut *length)), bad);
    assert_eq!(call!(l, C_Sign(session, at, 32, to, null_mut())), bad);
    // None of these has ended it; that it was told nonsense of its room, neither.
    *length = 63;
    assert_eq!(call!(l, C_Sign(session, at, 32, to, &mut *length)), CKR_BUFFER_TOO_SMALL);
    assert_eq!(call!(l, C_Sign(session, at, 32, to, &mut *length)), CKR_OK);
    for handle in [0, key + 1000, ABSURD] {
        let mut chosen = mechanism(CKM_ECDSA, &[]);
        let refused = call!(l, C_SignInit(session, chosen.at(), handle));
        assert_eq!(refused, CKR_KEY_HANDLE_INVALID);
        let closed = call!(l, C_SignInit(handle, chosen.at(), key));
        assert_eq!(closed, CKR_SESSION_HANDLE_INVALID);
    }
    let mut handles = (Box::new(0), Box::new(0));
    let mut chosen = mechanism(CKM_EC_KEY_PAIR_GEN, &[]);
    for (public, count) in [(null_mut(), 1), (null_mut(), ABSURD)] {
        let (one, two) = (&mut *handles.0, &mut *handles.1);
        let pair = call!(
            l,
            C_GenerateKeyPair(session, chosen.at(), public, count, null_mut(), 0, one, two)
        );
        assert_eq!(pair, bad);
    }
    assert_eq!(call!(l, C_Initialize(null_mut())), CKR_CRYPTOKI_ALREADY_INITIALIZED);
}

/// Sessions come and go in all of them while they sign.
fn threads(program: &Program, key: CK_OBJECT_HANDLE) {
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..8 {
                    let session = program.session();
                    let mut chosen = mechanism(CKM_ECDSA, &[]);
                    let l = &program.list;
                    assert_eq!(call!(l, C_SignInit(session, chosen.at(), key)), CKR_OK);
                    let data = vec![7; 32].into_boxed_slice();
                    let at = data.as_ptr().cast_mut();
                    let signed = ask(|to, len| call!(l, C_Sign(session, at, 32, to, len)));
                    assert_eq!(signed.map(|signed| signed.len()), Ok(64));
                    assert_eq!(call!(l, C_CloseSession(session)), CKR_OK);
                }
            });
        }
    });
}
