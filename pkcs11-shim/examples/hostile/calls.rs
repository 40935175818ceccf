//! The module as C has it, and memory that is exactly as long as it is said to be.

use std::ffi::{CString, c_char, c_int, c_void};
use std::ptr::null_mut;

use cryptoki_sys::*;

/// Calls a function of the list.
macro_rules! call {
    ($list:expr, $name:ident($($argument:expr),* $(,)?)) => {
        // SAFETY: what is said of memory is true, unless it is what is tested.
        unsafe { ($list.$name.unwrap())($($argument),*) }
    };
}
pub(crate) use call;

unsafe extern "C" {
    fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// The module's function list.
pub struct Program {
    pub list: CK_FUNCTION_LIST,
}

// SAFETY: functions, and nobody writes to it.
unsafe impl Sync for Program {}

impl Program {
    pub fn load(module: &str) -> Self {
        let name = CString::new(module).unwrap();
        let mut list = null_mut();
        // SAFETY: the function has this type (PKCS #11 base 2.40, section 5.4).
        unsafe {
            let library = dlopen(name.as_ptr(), 2);
            assert!(!library.is_null(), "{module} cannot be loaded");
            let function = dlsym(library, c"C_GetFunctionList".as_ptr());
            assert!(!function.is_null(), "{module} is no module");
            let function: CK_C_GetFunctionList = std::mem::transmute(function);
            assert_eq!(function.unwrap()(&mut list), CKR_OK);
            Self { list: *list }
        }
    }

    pub fn session(&self) -> CK_SESSION_HANDLE {
        let mut session = Box::new(0);
        let flags = CKF_SERIAL_SESSION | CKF_RW_SESSION;
        let opened = call!(self.list, C_OpenSession(0, flags, null_mut(), None, &mut *session));
        assert_eq!(opened, CKR_OK);
        *session
    }

    /// Makes a key pair, RSA-2048 or P-256, that does what these attributes say.
    pub fn key_pair(
        &self,
        session: CK_SESSION_HANDLE,
        is_rsa: bool,
        uses: &[CK_ATTRIBUTE_TYPE],
    ) -> (CK_OBJECT_HANDLE, CK_OBJECT_HANDLE) {
        const P256: [u8; 10] = [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
        let (kind, public) = match is_rsa {
            true => {
                (CKM_RSA_PKCS_KEY_PAIR_GEN, Attributes::default().number(CKA_MODULUS_BITS, 2048))
            }
            false => (CKM_EC_KEY_PAIR_GEN, Attributes::default().bytes(CKA_EC_PARAMS, &P256)),
        };
        let private = Attributes::default().flag(CKA_TOKEN, true).bytes(CKA_LABEL, b"hostile");
        let private = uses.iter().fold(private, |private, kind| private.flag(*kind, true));
        let (mut public, mut private) = (public.given(), private.given());
        let (of_public, of_private) = (public.count(), private.count());
        let (public, private) = (public.at(), private.at());
        let (mut one, mut two) = (Box::new(0), Box::new(0));
        let (to_one, to_two) = (&mut *one, &mut *two);
        let mut chosen = mechanism(kind, &[]);
        let made = call!(
            self.list,
            C_GenerateKeyPair(
                session,
                chosen.at(),
                public,
                of_public,
                private,
                of_private,
                to_one,
                to_two
            )
        );
        assert_eq!(made, CKR_OK, "{made:#x}");
        (*one, *two)
    }
}

/// A mechanism and its parameter, each a block of its own.
pub struct Chosen {
    mechanism: Box<CK_MECHANISM>,
    _parameter: Box<[u8]>,
}

pub fn mechanism(kind: CK_MECHANISM_TYPE, parameter: &[u8]) -> Chosen {
    let mut parameter: Box<[u8]> = parameter.into();
    let at = if parameter.is_empty() { null_mut() } else { parameter.as_mut_ptr().cast() };
    let length = parameter.len() as CK_ULONG;
    let mechanism = CK_MECHANISM { mechanism: kind, pParameter: at, ulParameterLen: length };
    Chosen { mechanism: Box::new(mechanism), _parameter: parameter }
}

impl Chosen {
    /// As C wants it.
    pub fn at(&mut self) -> *mut CK_MECHANISM {
        &mut *self.mechanism
    }
}

/// The bytes of a parameter.
pub fn bytes_of<T: Copy>(value: &T) -> Box<[u8]> {
    // SAFETY: parameters have no padding.
    unsafe { std::slice::from_raw_parts((&raw const *value).cast(), size_of::<T>()) }.into()
}

/// Asks for an answer by the protocol of lengths: how long it is, with too little room twice, and
/// with exactly enough.
pub fn ask(mut function: impl FnMut(*mut u8, *mut CK_ULONG) -> CK_RV) -> Result<Vec<u8>, CK_RV> {
    let mut length = Box::new(0);
    let is_ok = |value| if value == CKR_OK { Ok(()) } else { Err(value) };
    is_ok(function(null_mut(), &mut *length))?;
    let whole = *length;
    for short in [0, whole - 1] {
        let mut room = vec![0xaa; short as usize].into_boxed_slice();
        *length = short;
        assert_eq!(function(room.as_mut_ptr(), &mut *length), CKR_BUFFER_TOO_SMALL);
        assert_eq!(*length, whole);
        assert!(room.iter().all(|byte| *byte == 0xaa));
    }
    let mut room = vec![0; whole as usize].into_boxed_slice();
    is_ok(function(room.as_mut_ptr(), &mut *length))?;
    assert!(*length <= whole);
    Ok(room[..*length as usize].to_vec())
}

/// A template, each of whose values is a block of its own.
#[derive(Default)]
pub struct Attributes(Vec<(CK_ATTRIBUTE_TYPE, Box<[u8]>)>);

impl Attributes {
    pub fn bytes(mut self, kind: CK_ATTRIBUTE_TYPE, value: &[u8]) -> Self {
        self.0.push((kind, value.into()));
        self
    }

    pub fn number(self, kind: CK_ATTRIBUTE_TYPE, value: CK_ULONG) -> Self {
        self.bytes(kind, &value.to_ne_bytes())
    }

    pub fn flag(self, kind: CK_ATTRIBUTE_TYPE, value: bool) -> Self {
        self.bytes(kind, &[CK_BBOOL::from(value)])
    }

    pub fn given(mut self) -> Given {
        let attribute = |(kind, value): &mut (CK_ATTRIBUTE_TYPE, Box<[u8]>)| CK_ATTRIBUTE {
            type_: *kind,
            pValue: value.as_mut_ptr().cast(),
            ulValueLen: value.len() as CK_ULONG,
        };
        let attributes = self.0.iter_mut().map(attribute).collect();
        Given { attributes, _values: self }
    }
}

/// A template as C has it.
pub struct Given {
    pub attributes: Vec<CK_ATTRIBUTE>,
    _values: Attributes,
}

impl Given {
    pub fn at(&mut self) -> *mut CK_ATTRIBUTE {
        // No room behind the last.
        self.attributes.shrink_to_fit();
        self.attributes.as_mut_ptr()
    }

    pub fn count(&self) -> CK_ULONG {
        self.attributes.len() as CK_ULONG
    }
}
