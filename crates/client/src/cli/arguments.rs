//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Talks to the twinseal agent on this machine, and reads what it made.
#[derive(Debug, Parser)]
#[command(version, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    /// Print one JSON object instead of text, for errors too.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the agent or this program failed
  2  the command line, a file or an argument is wrong
  3  no agent answers on the system bus
  4  not allowed
  5  only a part has arrived
  6  there is no such thing, or it belongs to somebody else
  7  the device is not enrolled, not approved, suspended or revoked
  8  the chip is absent, locked out, unauthorised, or not as it was enrolled
  9  refused, or not genuine
 10  not in time, cancelled, or too much at once: try again";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show how this device stands.
    Status,
    /// Show what chip this device has, and its serial to those who may see it.
    Hardware {
        /// Write the endorsement key's certificate (DER) to this file.
        #[arg(long, value_name = "FILE")]
        ek_cert: Option<PathBuf>,
    },
    /// Enrol this device at the server that an operator's link names, and wait until it is done.
    Enrol {
        /// The link, in quotes.
        link: String,
        /// Whom the device belongs to: a JSON object of texts.
        #[arg(long, value_name = "FILE")]
        user_info: PathBuf,
    },
    /// Enrol this device again with the server of before, after what `status` says is wrong: its
    /// chip was cleared, replaced or rolled back, or the server has put it in quarantine.
    Recover {
        /// The operator's link, in quotes. Not needed where the chip still has its keys, nor
        /// where the operator has readmitted the device.
        link: Option<String>,
        /// Give up what the chip of before has sealed and the server has not answered.
        #[arg(long)]
        abandon: bool,
    },
    /// Give the agent the PIN of this device's token, where `status` says that it wants it. The PIN
    /// is typed unseen; where nobody is there to type, it is the first line of standard input.
    Unlock,
    /// Send a request for a service and wait for the reply.
    Exchange {
        /// The service, such as com.example.till.
        service: String,
        /// The request; `-` for standard input.
        #[arg(default_value = "-")]
        request: PathBuf,
        #[command(flatten)]
        payload: Payload,
        #[command(flatten)]
        order: Order,
        #[command(flatten)]
        wait: Wait,
        /// Write the reply to this file instead of standard output.
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Open, use, close and list trades.
    #[command(subcommand)]
    Trade(Trade),
    /// Make, use and forget keys of your own in the chip.
    #[command(subcommand)]
    Key(Key),
    /// Read and verify receipts, without the agent.
    #[command(subcommand)]
    Receipt(Receipt),
    /// Take a sealed message apart, layer by layer, with the patent's steps.
    Explain {
        /// The envelope; `-` for standard input.
        envelope: PathBuf,
        /// Have the agent open it, as a message of this trade of yours. Without it, what can be
        /// seen without any key is shown, and the agent is not needed.
        #[arg(long, value_name = "ID")]
        trade: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Trade {
    /// Open a trade for a service; prints its id.
    Open {
        /// The service, such as com.example.till.
        service: String,
        #[command(flatten)]
        order: Order,
    },
    /// Print each trade that the server opens for a service, until interrupted.
    Listen {
        /// The service, such as com.example.till.
        service: String,
        /// End after this many.
        #[arg(long, value_name = "N")]
        count: Option<u32>,
    },
    /// Seal a message and put it into the outbox.
    Send {
        /// The trade's id.
        trade: String,
        /// The payload; `-` for standard input.
        #[arg(default_value = "-")]
        payload_file: PathBuf,
        #[command(flatten)]
        payload: Payload,
    },
    /// Show the messages that have arrived, and wait for one if there are none.
    Receive {
        /// The trade's id.
        trade: String,
        /// Only what comes after this index; the agent forgets what stands before.
        #[arg(long, value_name = "INDEX", default_value_t = 0)]
        after: u64,
        #[command(flatten)]
        wait: Wait,
    },
    /// Close a trade and wait for its receipt.
    Close {
        /// The trade's id.
        trade: String,
        #[command(flatten)]
        wait: Wait,
        /// Write the receipt to this file.
        #[arg(long, value_name = "FILE")]
        receipt: Option<PathBuf>,
    },
    /// Write the receipt of a closed trade to a file.
    Receipt {
        /// The trade's id.
        trade: String,
        /// The file.
        #[arg(long, value_name = "FILE")]
        output: PathBuf,
    },
    /// List your trades.
    List,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Make a key; prints its name.
    Create {
        /// Your word for it.
        label: String,
        /// ecc-p256, ecc-p384, rsa-2048, rsa-3072 or hmac-sha256, where the chip has it.
        #[arg(long, default_value = "ecc-p256")]
        algorithm: String,
        /// What it may do: sign, decrypt (RSA), agree (elliptic curves). May be repeated.
        #[arg(long = "use", value_name = "USE", default_value = "sign")]
        uses: Vec<String>,
        #[command(flatten)]
        new: NewKey,
    },
    /// Take a key out of a TPM 2.0 key file (TSS2 PRIVATE KEY) that this chip can load; prints
    /// its name.
    Import {
        /// Your word for it.
        label: String,
        /// The key file; `-` for standard input.
        file: PathBuf,
        /// The key's password: the first line of this file.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        #[command(flatten)]
        new: NewKey,
    },
    /// List the keys that you may use: name, algorithm, owner, label.
    List,
    /// Show a key.
    Show {
        /// The key's name.
        key: String,
        /// Write its public key (PEM) to this file.
        #[arg(long, value_name = "FILE")]
        public_key: Option<PathBuf>,
        /// Write its certificate (PEM) to this file.
        #[arg(long, value_name = "FILE")]
        certificate: Option<PathBuf>,
    },
    /// Sign a digest.
    Sign {
        /// The key's name.
        key: String,
        /// The digest, as bytes; `-` for standard input.
        #[arg(default_value = "-")]
        digest: PathBuf,
        /// ecdsa, rsa-pkcs1-sha256, rsa-pss-sha256 (also sha384, sha512); hmac-sha256, for data.
        #[arg(long)]
        scheme: String,
        #[command(flatten)]
        output: Output,
    },
    /// Decrypt what was encrypted to an RSA key by OAEP.
    Decrypt {
        /// The key's name.
        key: String,
        /// The ciphertext; `-` for standard input.
        #[arg(default_value = "-")]
        ciphertext: PathBuf,
        /// rsa-oaep-sha256, or with sha1, sha384, sha512.
        #[arg(long, default_value = "rsa-oaep-sha256")]
        scheme: String,
        #[command(flatten)]
        output: Output,
    },
    /// Agree on a secret with the holder of another key on the same curve (ECDH).
    Agree {
        /// The key's name.
        key: String,
        /// The other's public key, PEM or DER.
        peer: PathBuf,
        #[command(flatten)]
        output: Output,
    },
    /// Have the chip attest that the key lives in it, for `twinseal-server attest verify`.
    Attest {
        /// The key's name.
        key: String,
        /// 16 to 64 random bytes of whoever will verify, hexadecimal.
        #[arg(long, value_name = "HEX")]
        nonce: String,
        #[command(flatten)]
        output: Output,
    },
    /// Write a TPM 2.0 key file (TSS2 PRIVATE KEY), which only this chip can load.
    Export {
        /// The key's name.
        key: String,
        #[command(flatten)]
        output: Output,
    },
    /// Change a key's label, id or certificate.
    Change {
        /// The key's name.
        key: String,
        /// Your new word for it.
        #[arg(long)]
        label: Option<String>,
        /// Its new id, hexadecimal: CKA_ID of PKCS #11.
        #[arg(long, value_name = "HEX")]
        id: Option<String>,
        #[command(flatten)]
        certificate: Certificate,
    },
    /// Forget a key for ever.
    Delete {
        /// The key's name.
        key: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct NewKey {
    /// Its id, hexadecimal: CKA_ID of PKCS #11. Random unless given.
    #[arg(long, value_name = "HEX")]
    pub(crate) id: Option<String>,
    /// A group of yours, by number, whose members may use it, too.
    #[arg(long, value_name = "GID")]
    pub(crate) group: Option<u32>,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct Certificate {
    /// Keep this certificate, PEM or DER, beside it.
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: Option<PathBuf>,
    /// Keep none any more.
    #[arg(long)]
    pub(crate) no_certificate: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Output {
    /// Write it to this file instead of standard output.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Receipt {
    /// Show what a receipt says. That it is of a server you trust, only `verify` says.
    Show {
        /// The receipt.
        file: PathBuf,
    },
    /// Verify a receipt offline, with nothing but the server's id.
    Verify {
        /// The receipt.
        file: PathBuf,
        /// The server's id, hexadecimal, from a source that you trust.
        #[arg(long, value_name = "ID")]
        server_id: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Payload {
    /// The application's word for the payload, such as application/json.
    #[arg(long, value_name = "TYPE", default_value = "")]
    pub(crate) content_type: String,
}

#[derive(Debug, Args)]
pub(crate) struct Order {
    /// Which layer stands outside.
    #[arg(long, value_enum, default_value_t = Outer::Serial)]
    pub(crate) outer: Outer,
}

#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// How long to wait, milliseconds; the agent waits 20 seconds at most.
    #[arg(long, value_name = "MS", default_value_t = 20_000)]
    pub(crate) wait_ms: u32,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Outer {
    /// Es(Ea(m)), claims 6, 7, 10, 11.
    Serial,
    /// Ea(Es(m)), claims 4, 5, 8, 9.
    Key,
}

impl Outer {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Serial => "serial",
            Self::Key => "key",
        }
    }
}
