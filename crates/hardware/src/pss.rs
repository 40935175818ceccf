//! The salt of RSASSA-PSS, whose length the chip chooses.

use rsa::{BigUint, Pss, RsaPublicKey};
use sha2::{Sha256, Sha384, Sha512};
use twinseal_scheme::tpm::PublicKey;

use crate::application::Hash;

/// Whether the signature is one of `key` over `digest` with a salt as long as that (RFC 8017,
/// section 9.1), which is what callers ask for: chips that do not follow FIPS 186 make it as long
/// as the key allows (TPM 2.0 Library Part 1, annex B.7), and verifiers refuse that.
pub(crate) fn has_salt_of_hash(
    key: &PublicKey,
    hash: Hash,
    digest: &[u8],
    signature: &[u8],
) -> bool {
    let padding = match hash {
        Hash::Sha256 => Pss::new_with_salt::<Sha256>(hash.digest_len()),
        Hash::Sha384 => Pss::new_with_salt::<Sha384>(hash.digest_len()),
        Hash::Sha512 => Pss::new_with_salt::<Sha512>(hash.digest_len()),
        Hash::Sha1 => return false,
    };
    let public = key.modulus().map(BigUint::from_bytes_be);
    let public = public.and_then(|modulus| RsaPublicKey::new(modulus, 65_537u32.into()).ok());
    public.is_some_and(|public| public.verify(padding, digest, signature).is_ok())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rand_core::OsRng;
    use rsa::RsaPrivateKey;
    use rsa::traits::PublicKeyParts;

    #[test]
    fn only_a_salt_as_long_as_the_digest_will_do() {
        let private = RsaPrivateKey::new(&mut OsRng, 2048).unwrap();
        let key = PublicKey::rsa(&private.n().to_bytes_be()).unwrap();
        let digest = [7; 32];
        // 222 bytes are the most that there is room for.
        for (salt, fits) in [(32, true), (0, false), (31, false), (48, false), (222, false)] {
            let padding = Pss::new_with_salt::<Sha256>(salt);
            let signature = private.sign_with_rng(&mut OsRng, padding, &digest).unwrap();
            assert_eq!(has_salt_of_hash(&key, Hash::Sha256, &digest, &signature), fits, "{salt}");
            assert!(!has_salt_of_hash(&key, Hash::Sha256, &[8; 32], &signature));
        }
    }
}
