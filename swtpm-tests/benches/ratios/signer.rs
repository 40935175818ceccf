//! Programs that sign when they are told to: this one, started again in one of several parts.
//! Each measures itself, so that what it costs to tell it is in no figure.

use std::hint::black_box;
use std::io::{BufRead, BufReader, Lines, Write, stdin};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;
use tss_esapi::attributes::ObjectAttributesBuilder;
use tss_esapi::constants::tss::{TPM2_RH_NULL, TPM2_ST_HASHCHECK};
use tss_esapi::handles::KeyHandle;
use tss_esapi::interface_types::algorithm::{HashingAlgorithm, PublicAlgorithm};
use tss_esapi::interface_types::ecc::EccCurve;
use tss_esapi::interface_types::resource_handles::Hierarchy;
use tss_esapi::interface_types::session_handles::AuthSession;
use tss_esapi::structures::{
    Digest, EccPoint, EccScheme, HashScheme, KeyDerivationFunctionScheme, Public, PublicBuilder,
    PublicEccParameters, SignatureScheme, SymmetricDefinitionObject,
};
use tss_esapi::tss2_esys::TPMT_TK_HASHCHECK;
use tss_esapi::{Context, TctiNameConf};
use twinseal_client::{KeyProxy, Options};

/// How a program signs.
#[derive(Debug, Clone, Copy)]
pub enum Way<'a> {
    /// In the chip with this TCTI, by ESAPI, without anything between.
    Chip(&'a str),
    /// With the agent's key of this path, over the system bus.
    Bus(&'a str),
    /// With the one key that the user of a PKCS#11 module with this PIN has.
    Module(&'a Path, &'a str),
}

/// The first argument of a program that signs; a word for its part, and what that needs, follow.
const SIGN: &str = "sign";
/// What is signed; ECDSA does not care.
const DIGEST: [u8; 32] = [7; 32];

/// A running program that signs.
pub struct Signer {
    child: Child,
    orders: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Signer {
    /// Starts one with what `command` makes of the path of this program; it is ready when this
    /// returns.
    pub fn start(way: Way<'_>, command: impl FnOnce(&Path) -> Command) -> Self {
        let mut command = command(&std::env::current_exe().unwrap());
        command.arg(SIGN);
        match way {
            Way::Chip(tcti) => command.args(["chip", tcti, ""]),
            Way::Bus(path) => command.args(["bus", path, ""]),
            Way::Module(module, pin) => command.arg("module").args([module, Path::new(pin)]),
        };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut signer = Self { child, orders, answers };
        signer.answer();
        signer
    }

    /// Has it sign so often; how long one signature took, by the median.
    pub fn sign(&mut self, count: u32) -> Duration {
        self.begin(count);
        self.answer()
    }

    /// Has it begin to sign.
    pub fn begin(&mut self, count: u32) {
        writeln!(self.orders.as_ref().unwrap(), "{count}").unwrap();
    }

    /// How long one signature took, by the median, when all are done.
    pub fn answer(&mut self) -> Duration {
        let answer = self.answers.next().expect("a program that goes on").unwrap();
        Duration::from_nanos(answer.parse().unwrap())
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        // Without orders it ends by itself, and leaves the chip as it was.
        self.orders = None;
        let _ = self.child.wait();
    }
}

/// Plays a part if this program was started for one.
pub fn play() -> bool {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [sign, part, place, pin] = arguments.as_slice() else { return false };
    match (sign.as_str(), part.as_str()) {
        (SIGN, "chip") => by_chip(place),
        (SIGN, "bus") => over_bus(place),
        (SIGN, "module") => through_module(Path::new(place), pin),
        _ => return false,
    }
    true
}

/// Signs as often as each line says, and prints how many nanoseconds one signature took.
fn serve(mut sign: impl FnMut()) {
    // What is done once is done now.
    sign();
    println!("0");
    for line in stdin().lines() {
        let count: u32 = line.unwrap().parse().unwrap();
        let mut times: Vec<u128> = (0..count)
            .map(|_| {
                let began = Instant::now();
                sign();
                began.elapsed().as_nanos()
            })
            .collect();
        times.sort();
        println!("{}", times[times.len() / 2]);
    }
}

fn by_chip(tcti: &str) {
    let mut chip = Context::new(TctiNameConf::from_str(tcti).unwrap()).unwrap();
    chip.set_sessions((Some(AuthSession::Password), None, None));
    let made = chip.create_primary(Hierarchy::Owner, signing_key(), None, None, None, None);
    let key: KeyHandle = made.unwrap().key_handle;
    serve(|| {
        let digest = Digest::try_from(DIGEST.as_slice()).unwrap();
        let hash_scheme = HashScheme::new(HashingAlgorithm::Sha256);
        let ticket = TPMT_TK_HASHCHECK {
            tag: TPM2_ST_HASHCHECK,
            hierarchy: TPM2_RH_NULL,
            digest: Default::default(),
        };
        let scheme = SignatureScheme::EcDsa { hash_scheme };
        black_box(chip.sign(key, digest, scheme, ticket.try_into().unwrap()).unwrap());
    });
}

/// As applications' keys are, for what a signature costs.
fn signing_key() -> Public {
    let attributes = ObjectAttributesBuilder::new()
        .with_fixed_tpm(true)
        .with_fixed_parent(true)
        .with_sensitive_data_origin(true)
        .with_user_with_auth(true)
        .with_no_da(true)
        .with_sign_encrypt(true)
        .build();
    let parameters = PublicEccParameters::new(
        SymmetricDefinitionObject::Null,
        EccScheme::Null,
        EccCurve::NistP256,
        KeyDerivationFunctionScheme::Null,
    );
    let key = PublicBuilder::new()
        .with_public_algorithm(PublicAlgorithm::Ecc)
        .with_name_hashing_algorithm(HashingAlgorithm::Sha256)
        .with_object_attributes(attributes.unwrap())
        .with_ecc_parameters(parameters)
        .with_ecc_unique_identifier(EccPoint::default());
    key.build().unwrap()
}

fn over_bus(path: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let key = runtime.block_on(async {
        let bus = zbus::Connection::system().await.unwrap();
        KeyProxy::builder(&bus).path(path.to_owned()).build().await.unwrap()
    });
    serve(|| {
        let signed = key.sign(&DIGEST, "ecdsa", Options::new());
        black_box(runtime.block_on(signed).unwrap());
    });
}

fn through_module(module: &Path, pin: &str) {
    let module = initialized(module);
    let session = open(&module, UserType::User, pin);
    let wanted = [Attribute::Class(ObjectClass::PRIVATE_KEY)];
    let keys = session.find_objects(&wanted).unwrap();
    let [key] = keys.as_slice() else { panic!("{} keys", keys.len()) };
    serve(|| {
        black_box(session.sign(&Mechanism::Ecdsa, *key, &DIGEST).unwrap());
    });
}

/// A module, loaded and started.
pub fn initialized(module: &Path) -> Pkcs11 {
    let module = Pkcs11::new(module).unwrap();
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)).unwrap();
    module
}

/// A session with the first token, in which a user has logged in.
pub fn open(module: &Pkcs11, user: UserType, pin: &str) -> Session {
    let slot = *module.get_slots_with_token().unwrap().first().unwrap();
    let session = module.open_rw_session(slot).unwrap();
    session.login(user, Some(&AuthPin::new(pin.into()))).unwrap();
    session
}
