//! The chip that an agent owns: a TPM 2.0 (a PKCS#11 token later).
