//! What calls may name.

use cryptoki_sys::*;

/// What the module has, and one that it has not.
pub const MECHANISMS: [CK_MECHANISM_TYPE; 16] = [
    CKM_ECDSA,
    CKM_ECDSA_SHA256,
    CKM_ECDH1_DERIVE,
    CKM_RSA_PKCS,
    CKM_SHA256_RSA_PKCS,
    CKM_RSA_PKCS_PSS,
    CKM_SHA384_RSA_PKCS_PSS,
    CKM_RSA_PKCS_OAEP,
    CKM_EC_KEY_PAIR_GEN,
    CKM_RSA_PKCS_KEY_PAIR_GEN,
    CKM_SHA_1,
    CKM_SHA256,
    CKM_SHA384,
    CKM_SHA512,
    CKM_ECDSA_SHA1,
    CKM_SHA256_HMAC,
];

/// Hashes with their mask generation.
pub const HASHES: [(CK_MECHANISM_TYPE, CK_RSA_PKCS_MGF_TYPE); 4] = [
    (CKM_SHA_1, CKG_MGF1_SHA1),
    (CKM_SHA256, CKG_MGF1_SHA256),
    (CKM_SHA384, CKG_MGF1_SHA384),
    (CKM_SHA512, CKG_MGF1_SHA512),
];

/// Attributes; the first two are numbers.
pub const KINDS: [CK_ATTRIBUTE_TYPE; 20] = [
    CKA_CLASS,
    CKA_KEY_TYPE,
    CKA_TOKEN,
    CKA_LABEL,
    CKA_ID,
    CKA_VALUE,
    CKA_EC_PARAMS,
    CKA_EC_POINT,
    CKA_MODULUS,
    CKA_MODULUS_BITS,
    CKA_PUBLIC_EXPONENT,
    CKA_VALUE_LEN,
    CKA_SIGN,
    CKA_DERIVE,
    CKA_DECRYPT,
    CKA_EXTRACTABLE,
    CKA_CERTIFICATE_TYPE,
    CKA_SUBJECT,
    CKA_PRIVATE_EXPONENT,
    CKA_VENDOR_DEFINED,
];
