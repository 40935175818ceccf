//! Every claim and figure of the patent, as something that works: a real agent, courier and server,
//! a real TPM emulator, and a recorder on the wire. The numbers are those of the claims as filed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod applicant;
mod enrolment;
mod exchanges;
mod impostors;
mod layerings;
mod layers;
mod networks;
mod rsa;
mod system;
mod thief;
mod token;
mod wire;
