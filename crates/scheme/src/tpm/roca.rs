//! The fingerprint of CVE-2017-15361 ("ROCA"): RSA moduli of a flawed generator, which
//! many TPMs had, can be factored.
//!
//! Its primes are powers of 65537 modulo a product of small primes, and so is their
//! product. Any other modulus is that modulo all of these primes about once in 2^27 times
//! (Nemec et al., "The Return of Coppersmith's Attack", CCS 2017).

/// The modulus is a power of 65537 modulo each of the small primes.
pub(crate) fn has_fingerprint(modulus: &[u8]) -> bool {
    SMALL_PRIMES.iter().all(|&prime| is_power(residue(modulus, prime), prime))
}

/// The odd primes whose product all sizes of the flawed keys share.
const SMALL_PRIMES: [u32; 38] = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
];

fn residue(modulus: &[u8], prime: u32) -> u32 {
    modulus.iter().fold(0, |rest, byte| (rest * 256 + u32::from(*byte)) % prime)
}

/// 65537 generates `value` modulo `prime`.
fn is_power(value: u32, prime: u32) -> bool {
    let mut power = 1;
    for _ in 1..prime {
        if power == value {
            return true;
        }
        power = power * 65537 % prime;
    }
    false
}

#[cfg(test)]
pub(super) mod tests {
    use rsa::BigUint;

    use super::*;

    /// An odd number of 2048 bits that is 65537^1234567 modulo all the small primes.
    pub(crate) fn fingerprinted_modulus() -> Vec<u8> {
        let product: BigUint = SMALL_PRIMES.iter().map(|&prime| BigUint::from(prime)).product();
        let power = BigUint::from(65537u32).modpow(&BigUint::from(1_234_567u32), &product);
        let top = (BigUint::from(1u32) << 2047usize) / &product + 1u32;
        let modulus = &top * &product + &power;
        let odd = match modulus.to_bytes_be()[255] & 1 {
            1 => modulus,
            _ => modulus + product,
        };
        odd.to_bytes_be()
    }

    #[test]
    fn a_modulus_of_the_flawed_generator_is_recognised_and_its_neighbour_is_not() {
        let modulus = fingerprinted_modulus();
        assert_eq!(modulus.len(), 256);
        assert!(has_fingerprint(&modulus));
        let neighbour = BigUint::from_bytes_be(&modulus) + 2u32;
        assert!(!has_fingerprint(&neighbour.to_bytes_be()));
    }
}
