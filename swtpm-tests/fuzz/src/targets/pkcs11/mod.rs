//! The PKCS#11 module, called as a program does it: with any arguments while its agent tells the
//! truth, and in order while its agent tells anything.
//!
//! The agent is this module's: it answers on a socket of its own. Every buffer stands between
//! bytes that nobody may touch.
#![allow(unsafe_code)]

mod agent;
mod names;

use std::ptr::null_mut;
use std::sync::{LazyLock, Mutex, PoisonError};

use cryptoki_sys::*;
use twinseal_pkcs11 as _;

use crate::Target;
use agent::{AGENT, METHODS};
use names::{HASHES, KINDS, MECHANISMS};

/// A list of calls, each of a byte for the function and bytes for its arguments.
pub const CALLS: Target = Target {
    name: "pkcs11-calls",
    run: calls,
    seeds: || {
        let one = |function: u8| vec![function, 0, 0, 0, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
        let each = (0..FUNCTIONS).map(one);
        let sign = [[4, 0, 1, 0, 0, 0].as_slice(), &[5, 0, 0, 0, 32], &[7; 32]].concat();
        each.chain([sign, (0..FUNCTIONS).flat_map(one).collect()]).collect()
    },
    mutations: 800,
};

/// What the agent answers to one method: a byte for that, one for its form, and the answer.
pub const ANSWERS: Target = Target {
    name: "pkcs11-answers",
    run: answers,
    seeds: || {
        let methods = 0..METHODS.len() as u8;
        methods.flat_map(|method| AGENT.seeds(method)).collect()
    },
    mutations: 600,
};

unsafe extern "C" {
    fn C_GetFunctionList(list: *mut *mut CK_FUNCTION_LIST) -> CK_RV;
}

/// How many functions [`Program::call`] knows.
const FUNCTIONS: u8 = 24;
/// Calls of one input.
const CALLS_MAX: usize = 64;
/// Stands before and behind each buffer.
const EDGE: [u8; 16] = [0xe5; 16];

/// Calls a function of the module.
macro_rules! call {
    ($program:expr, $name:ident($($argument:expr),* $(,)?)) => {
        // SAFETY: pointers are null or lead to what is said of them; lengths that no buffer has
        // stand beside null alone, or are such that nobody follows the pointer.
        unsafe { ($program.list.$name.unwrap())($($argument),*) }
    };
}

/// The module in this process, which is one.
static ALONE: LazyLock<Mutex<()>> = LazyLock::new(|| {
    // SAFETY: the targets of this file are the first; nothing else runs yet.
    unsafe { std::env::set_var("DBUS_SYSTEM_BUS_ADDRESS", AGENT.address()) };
    Mutex::new(())
});

fn calls(input: &[u8]) -> bool {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    AGENT.tell_the_truth();
    let mut program = Program::start(input);
    let mut taken = 0;
    for _ in 0..CALLS_MAX {
        if program.bytes.is_empty() {
            break;
        }
        let function = program.byte() % FUNCTIONS;
        let value = program.call(function);
        assert_ne!(
            value, CKR_GENERAL_ERROR,
            "{function}: a panic, or a true answer not understood"
        );
        assert_ne!(value, CKR_DEVICE_ERROR, "{function}: the agent is there and tells the truth");
        taken += usize::from(value == CKR_OK);
    }
    taken > 0
}

fn answers(input: &[u8]) -> bool {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let [method, form, answer @ ..] = input else { return false };
    let method = method % METHODS.len() as u8;
    // What the call needs is there before it is lied to.
    AGENT.tell_the_truth();
    let mut program = Program::start(&[]);
    program.find();
    AGENT.lie(method, form % 2 == 1, answer);
    let value = program.ask_for(METHODS[usize::from(method)]);
    AGENT.tell_the_truth();
    value == CKR_OK
}

/// The program: an initialized module with a session, and bytes to choose by.
struct Program<'a> {
    list: CK_FUNCTION_LIST,
    bytes: &'a [u8],
    session: CK_SESSION_HANDLE,
    objects: Vec<CK_OBJECT_HANDLE>,
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        call!(self, C_Finalize(null_mut()));
    }
}

impl<'a> Program<'a> {
    fn start(bytes: &'a [u8]) -> Self {
        let mut list = null_mut();
        // SAFETY: a place for it; what comes is never freed.
        let list = unsafe {
            assert_eq!(C_GetFunctionList(&mut list), CKR_OK);
            *list
        };
        let mut program = Self { list, bytes, session: 0, objects: Vec::new() };
        assert_eq!(call!(program, C_Initialize(null_mut())), CKR_OK);
        let (flags, mut session) = (CKF_SERIAL_SESSION | CKF_RW_SESSION, 0);
        let opened = call!(program, C_OpenSession(0, flags, null_mut(), None, &mut session));
        assert_eq!(opened, CKR_OK);
        program.session = session;
        program.find();
        program
    }

    fn byte(&mut self) -> u8 {
        let Some((byte, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *byte
    }

    /// A length, and as many bytes.
    fn some(&mut self) -> Vec<u8> {
        let len = usize::from(self.byte()).min(self.bytes.len());
        let (bytes, rest) = self.bytes.split_at(len);
        self.bytes = rest;
        bytes.to_vec()
    }

    /// A number: of what there is, small, or of what there is not.
    fn handle(&mut self, there: &[CK_ULONG]) -> CK_ULONG {
        match self.byte() {
            255 => CK_ULONG::MAX,
            254 => 0,
            chosen => *there.get(usize::from(chosen) % there.len().max(1)).unwrap_or(&1),
        }
    }

    fn session(&mut self) -> CK_SESSION_HANDLE {
        self.handle(&[self.session, self.session, self.session, self.session + 1])
    }

    fn object(&mut self) -> CK_OBJECT_HANDLE {
        let objects = self.objects.clone();
        self.handle(&objects)
    }

    fn find(&mut self) -> CK_RV {
        let begun = call!(self, C_FindObjectsInit(self.session, null_mut(), 0));
        let (mut found, mut count) = ([0; 32], 0);
        if begun == CKR_OK {
            call!(self, C_FindObjects(self.session, found.as_mut_ptr(), 32, &mut count));
            call!(self, C_FindObjectsFinal(self.session));
            self.objects = found[..count as usize].to_vec();
        }
        begun
    }

    /// Calls a function whose answer goes into a buffer, of any length or none.
    fn fill_buffer(
        &mut self,
        function: impl FnOnce(&Self, *mut u8, *mut CK_ULONG) -> CK_RV,
    ) -> CK_RV {
        let length = usize::from(self.byte()) * 2;
        let mut room = [&EDGE[..], &vec![0xaa; length], &EDGE].concat();
        let mut said = length as CK_ULONG;
        let at = match self.byte() {
            255 => null_mut(),
            _ => room[EDGE.len()..].as_mut_ptr(),
        };
        let value = function(self, at, &mut said);
        assert!(room.starts_with(&EDGE) && room.ends_with(&EDGE), "a byte out of place");
        assert!(at.is_null() || value != CKR_OK || said <= length as CK_ULONG, "{said}");
        value
    }

    fn call(&mut self, function: u8) -> CK_RV {
        let session = self.session();
        match function {
            0 => self.find(),
            1 => self.attributes(session),
            2 => self.with_template(|p, at, count| call!(p, C_FindObjectsInit(session, at, count))),
            3 => call!(self, C_FindObjectsFinal(session)),
            4 => self.with_key(|p, chosen, key| call!(p, C_SignInit(session, chosen, key))),
            5 => self.data_to_buffer(session, |list| list.C_Sign.unwrap()),
            6 => self.with_data(|p, at, len| call!(p, C_SignUpdate(session, at, len))),
            7 => self.fill_buffer(|p, at, len| call!(p, C_SignFinal(session, at, len))),
            8 => self.with_key(|p, chosen, key| call!(p, C_DecryptInit(session, chosen, key))),
            9 => self.data_to_buffer(session, |list| list.C_Decrypt.unwrap()),
            10 => self.with_mechanism(|p, chosen| call!(p, C_DigestInit(session, chosen))),
            11 => self.data_to_buffer(session, |list| list.C_Digest.unwrap()),
            12 => self.with_data(|p, at, len| call!(p, C_DigestUpdate(session, at, len))),
            13 => self.fill_buffer(|p, at, len| call!(p, C_DigestFinal(session, at, len))),
            14 => self.derive(session),
            15 => self.generate(session),
            16 => self.with_template(|p, at, count| {
                let mut object = 0;
                call!(p, C_CreateObject(session, at, count, &mut object))
            }),
            17 => self.change(session),
            18 => {
                let object = self.object();
                call!(self, C_DestroyObject(session, object))
            }
            19 => self.fill_buffer(|p, at, len| {
                // SAFETY: the length of the buffer.
                let room = if at.is_null() { 0 } else { unsafe { *len } };
                call!(p, C_GenerateRandom(session, at, room))
            }),
            20 => self.with_data(|p, at, len| call!(p, C_Login(session, CKU_USER, at, len))),
            21 => call!(self, C_Logout(session)),
            22 => {
                let mut info = CK_TOKEN_INFO::default();
                let slot = self.handle(&[0, 0, 1]);
                call!(self, C_GetTokenInfo(slot, &mut info))
            }
            _ => {
                let mut info = CK_SESSION_INFO::default();
                call!(self, C_GetSessionInfo(session, &mut info))
            }
        }
    }

    /// Data: bytes, null with a length, or more than there can be.
    fn with_data(&mut self, function: impl FnOnce(&mut Self, *mut u8, CK_ULONG) -> CK_RV) -> CK_RV {
        let kind = self.byte();
        let mut data = self.some().into_boxed_slice();
        match kind {
            255 => function(self, null_mut(), 1),
            254 => function(self, data.as_mut_ptr(), CK_ULONG::MAX),
            _ => {
                let (at, length) = (data.as_mut_ptr(), data.len() as CK_ULONG);
                function(self, at, length)
            }
        }
    }

    fn data_to_buffer(
        &mut self,
        session: CK_SESSION_HANDLE,
        of: fn(
            &CK_FUNCTION_LIST,
        ) -> unsafe extern "C" fn(
            CK_SESSION_HANDLE,
            *mut u8,
            CK_ULONG,
            *mut u8,
            *mut CK_ULONG,
        ) -> CK_RV,
    ) -> CK_RV {
        self.with_data(|p, data, length| {
            // SAFETY: as of `call`.
            p.fill_buffer(|p, at, len| unsafe { of(&p.list)(session, data, length, at, len) })
        })
    }

    fn with_mechanism(
        &mut self,
        function: impl FnOnce(&mut Self, *mut CK_MECHANISM) -> CK_RV,
    ) -> CK_RV {
        let kind = match self.byte() {
            255 => return function(self, null_mut()),
            254 => CKM_RSA_X_509,
            kind => MECHANISMS[usize::from(kind) % MECHANISMS.len()],
        };
        let mut label = self.some();
        let (hash, salt) = (HASHES[usize::from(self.byte()) % 4], self.byte());
        let (data, length) = (label.as_mut_ptr(), label.len() as CK_ULONG);
        let mut pss = CK_RSA_PKCS_PSS_PARAMS { hashAlg: hash.0, mgf: hash.1, sLen: salt.into() };
        let mut oaep = CK_RSA_PKCS_OAEP_PARAMS {
            hashAlg: hash.0,
            mgf: hash.1,
            source: CK_ULONG::from(salt & 1),
            pSourceData: data.cast(),
            ulSourceDataLen: length,
        };
        let mut ecdh = CK_ECDH1_DERIVE_PARAMS {
            kdf: if salt == 255 { 2 } else { CKD_NULL },
            ulSharedDataLen: 0,
            pSharedData: null_mut(),
            ulPublicDataLen: length,
            pPublicData: data,
        };
        let (parameter, size) = match kind {
            CKM_RSA_PKCS_OAEP => ((&raw mut oaep).cast(), size_of_val(&oaep)),
            CKM_ECDH1_DERIVE => ((&raw mut ecdh).cast(), size_of_val(&ecdh)),
            _ if salt & 0x40 == 0 => (null_mut(), 0),
            _ if salt & 0x80 == 0 => (data.cast(), label.len()),
            _ => ((&raw mut pss).cast(), size_of_val(&pss)),
        };
        let size = size as CK_ULONG;
        let mut chosen =
            CK_MECHANISM { mechanism: kind, pParameter: parameter, ulParameterLen: size };
        function(self, &mut chosen)
    }

    fn with_key(
        &mut self,
        function: impl FnOnce(&mut Self, *mut CK_MECHANISM, CK_OBJECT_HANDLE) -> CK_RV,
    ) -> CK_RV {
        let key = self.object();
        self.with_mechanism(|p, chosen| function(p, chosen, key))
    }

    /// Up to four attributes, whose values are of any length, or the one they should have.
    fn with_template(
        &mut self,
        function: impl FnOnce(&mut Self, *mut CK_ATTRIBUTE, CK_ULONG) -> CK_RV,
    ) -> CK_RV {
        let count = self.byte() % 5;
        let mut values: Vec<(CK_ATTRIBUTE_TYPE, Vec<u8>)> = Vec::new();
        for _ in 0..count {
            let kind = self.byte();
            let value = match (kind, self.byte()) {
                (kind, 0) if kind < 2 => CK_ULONG::from(self.byte()).to_ne_bytes().to_vec(),
                (kind, 1) if kind < 2 => vec![self.byte() & 1],
                _ => self.some(),
            };
            values.push((KINDS[usize::from(kind) % KINDS.len()], value));
        }
        let attribute = |(kind, value): &mut (CK_ATTRIBUTE_TYPE, Vec<u8>)| CK_ATTRIBUTE {
            type_: *kind,
            pValue: value.as_mut_ptr().cast(),
            ulValueLen: value.len() as CK_ULONG,
        };
        let mut given: Vec<CK_ATTRIBUTE> = values.iter_mut().map(attribute).collect();
        let count = if self.byte() == 255 { CK_ULONG::MAX } else { given.len() as CK_ULONG };
        function(self, given.as_mut_ptr(), count)
    }

    fn attributes(&mut self, session: CK_SESSION_HANDLE) -> CK_RV {
        let (object, kind) = (self.object(), self.byte());
        self.fill_buffer(|p, at, len| {
            let type_ = KINDS[usize::from(kind) % KINDS.len()];
            // SAFETY: the length of the buffer.
            let room = unsafe { *len };
            let mut one = CK_ATTRIBUTE { type_, pValue: at.cast(), ulValueLen: room };
            let value = call!(p, C_GetAttributeValue(session, object, &mut one, 1));
            // SAFETY: as above.
            unsafe { *len = one.ulValueLen };
            value
        })
    }

    fn derive(&mut self, session: CK_SESSION_HANDLE) -> CK_RV {
        self.with_key(|p, chosen, key| {
            p.with_template(|p, at, count| {
                let mut secret = 0;
                call!(p, C_DeriveKey(session, chosen, key, at, count, &mut secret))
            })
        })
    }

    fn generate(&mut self, session: CK_SESSION_HANDLE) -> CK_RV {
        self.with_mechanism(|p, chosen| {
            p.with_template(|p, public, publics| {
                p.with_template(|p, private, privates| {
                    let (mut one, mut two) = (0, 0);
                    let to = (&raw mut one, &raw mut two);
                    call!(
                        p,
                        C_GenerateKeyPair(
                            session, chosen, public, publics, private, privates, to.0, to.1
                        )
                    )
                })
            })
        })
    }

    fn change(&mut self, session: CK_SESSION_HANDLE) -> CK_RV {
        let object = self.object();
        self.with_template(|p, at, count| call!(p, C_SetAttributeValue(session, object, at, count)))
    }

    /// Does what makes the module call this method of the agent.
    fn ask_for(&mut self, method: &str) -> CK_RV {
        let mut info = CK_TOKEN_INFO::default();
        // In the order in which they are found: private and public half of an elliptic key, then
        // of an RSA key.
        let (ec, rsa) = (self.objects.first().copied(), self.objects.get(2).copied());
        let (ec, rsa) = (ec.unwrap_or(0), rsa.unwrap_or(0));
        match method {
            "GetManagedObjects" => self.find(),
            "GetAll" => call!(self, C_GetTokenInfo(0, &mut info)),
            "Ping" => {
                let mut session = 0;
                call!(self, C_OpenSession(0, CKF_SERIAL_SESSION, null_mut(), None, &mut session))
            }
            "Random" => {
                let mut room = [0; 64];
                call!(self, C_GenerateRandom(self.session, room.as_mut_ptr(), 64))
            }
            "Sign" => {
                let mut chosen = plain(CKM_ECDSA);
                call!(self, C_SignInit(self.session, &mut chosen, ec));
                let (mut digest, mut room, mut length) = ([7; 32], [0; 64], 64);
                let (from, to) = (digest.as_mut_ptr(), room.as_mut_ptr());
                call!(self, C_Sign(self.session, from, 32, to, &mut length))
            }
            "Decrypt" => self.decrypt(rsa),
            "Delete" => call!(self, C_DestroyObject(self.session, ec)),
            _ => self.generate_p256(),
        }
    }

    fn decrypt(&mut self, key: CK_OBJECT_HANDLE) -> CK_RV {
        let mut oaep = CK_RSA_PKCS_OAEP_PARAMS {
            hashAlg: CKM_SHA256,
            mgf: CKG_MGF1_SHA256,
            source: CKZ_DATA_SPECIFIED,
            pSourceData: null_mut(),
            ulSourceDataLen: 0,
        };
        let mut chosen = plain(CKM_RSA_PKCS_OAEP);
        chosen.pParameter = (&raw mut oaep).cast();
        chosen.ulParameterLen = size_of_val(&oaep) as CK_ULONG;
        call!(self, C_DecryptInit(self.session, &mut chosen, key));
        let (mut sealed, mut room, mut length) = ([7; 256], [0; 256], 256);
        let (from, to) = (sealed.as_mut_ptr(), room.as_mut_ptr());
        call!(self, C_Decrypt(self.session, from, 256, to, &mut length))
    }

    fn generate_p256(&mut self) -> CK_RV {
        const P256: [u8; 10] = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
        let (mut curve, mut yes) = (P256, [1u8]);
        let attribute = |type_, value: &mut [u8]| CK_ATTRIBUTE {
            type_,
            pValue: value.as_mut_ptr().cast(),
            ulValueLen: value.len() as CK_ULONG,
        };
        let mut public = attribute(CKA_EC_PARAMS, &mut curve);
        let mut private = attribute(CKA_TOKEN, &mut yes);
        let (mut chosen, mut one, mut two) = (plain(CKM_EC_KEY_PAIR_GEN), 0, 0);
        let (to_one, to_two) = (&raw mut one, &raw mut two);
        call!(
            self,
            C_GenerateKeyPair(
                self.session,
                &mut chosen,
                &mut public,
                1,
                &mut private,
                1,
                to_one,
                to_two
            )
        )
    }
}

fn plain(kind: CK_MECHANISM_TYPE) -> CK_MECHANISM {
    CK_MECHANISM { mechanism: kind, pParameter: null_mut(), ulParameterLen: 0 }
}
