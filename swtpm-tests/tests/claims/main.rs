//! Every claim and figure of the patent, as something that works: a real agent, courier and server,
//! a real chip, and a recorder on the wire. The numbers are those of the claims as filed. The chip is
//! the one that `TWINSEAL_TEST_CHIP` names: an emulated TPM, or one of two tokens in software.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod applicant;
mod enrolment;
mod exchanges;
mod impostors;
mod layerings;
mod layers;
mod networks;
mod rsa;
mod rsa_token;
mod system;
mod thief;
mod wire;
