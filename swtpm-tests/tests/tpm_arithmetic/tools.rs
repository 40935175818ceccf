//! A chip with tpm2-tools, and the one command that the tools do not offer as it is needed.

use std::fs;

use tempfile::TempDir;
use twinseal_scheme::tpm::Public;
use twinseal_swtpm_tests::Swtpm;

/// fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, noDA.
pub const GENUINE: &str = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda";

/// A chip and a folder for what is written by and for the tools.
pub struct Bench {
    pub chip: Swtpm,
    folder: TempDir,
}

impl Bench {
    pub fn new(chip: Swtpm) -> Self {
        Bench { chip, folder: tempfile::tempdir().unwrap() }
    }

    /// Runs a tool; what follows an `@` is a file of this bench.
    pub fn tool(&self, line: &str) {
        self.run(line, |program, arguments| drop(self.chip.tool(program, arguments)));
    }

    pub fn tool_succeeds(&self, line: &str) -> bool {
        self.run(line, |program, arguments| self.chip.try_tool(program, arguments).status.success())
    }

    fn run<T>(&self, line: &str, run: impl FnOnce(&str, &[&str]) -> T) -> T {
        let arguments: Vec<String> = line.split_whitespace().map(|a| self.resolve(a)).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (program, arguments) = arguments.split_first().unwrap();
        run(program, arguments)
    }

    pub fn read(&self, file: &str) -> Vec<u8> {
        fs::read(self.folder.path().join(file)).unwrap()
    }

    pub fn write(&self, file: &str, bytes: &[u8]) {
        fs::write(self.folder.path().join(file), bytes).unwrap();
    }

    /// Frees the three slots of a bare chip.
    pub fn flush(&self) {
        self.tool("tpm2_flushcontext -t");
    }

    /// A primary object, kept at `handle`.
    pub fn primary(&self, hierarchy: &str, handle: u32, algorithm: &str, attributes: &str) -> Key {
        self.tool(&format!(
            "tpm2_createprimary -C {hierarchy} -g sha256 -G {algorithm} -a {attributes} -c @made.ctx"
        ));
        self.keep(handle)
    }

    /// A child of the object at `parent`, kept at `handle`.
    pub fn child(&self, parent: &Key, handle: u32, algorithm: &str, attributes: &str) -> Key {
        self.tool(&format!(
            "tpm2_create -C {} -g sha256 -G {algorithm} -a {attributes} -u @made.pub -r @made.priv",
            parent.context()
        ));
        self.flush();
        let parent = parent.context();
        self.tool(&format!("tpm2_load -C {parent} -u @made.pub -r @made.priv -c @made.ctx"));
        self.keep(handle)
    }

    fn keep(&self, handle: u32) -> Key {
        self.flush();
        self.tool(&format!("tpm2_evictcontrol -C o -c @made.ctx 0x{handle:08x}"));
        self.flush();
        self.key_at(handle)
    }

    /// The object at a persistent handle, as `tpm2_readpublic` shows it.
    pub fn key_at(&self, handle: u32) -> Key {
        self.tool(&format!("tpm2_readpublic -c 0x{handle:08x} -o @pub -n @name -q @qualified"));
        let sized = self.read("pub");
        assert!(Public::parse_sized(&sized).is_ok());
        Key {
            handle,
            public: sized[2..].to_vec(),
            name: self.read("name"),
            qualified_name: self.read("qualified"),
        }
    }

    /// TPM2_Certify (Part 3, section 18.2) with empty authValues, sent as bytes: the tool of
    /// that name always puts the same four bytes into the attest. Gives attest and signature.
    pub fn certify(&self, object: &Key, signer: &Key, extra_data: &[u8]) -> (Vec<u8>, Vec<u8>) {
        // TPM_RS_PW, no nonce, no attributes, no authValue.
        let password = [0x40, 0, 0, 0x09, 0, 0, 0, 0, 0];
        let body = [
            &object.handle.to_be_bytes()[..],
            &signer.handle.to_be_bytes(),
            &(2 * password.len() as u32).to_be_bytes(),
            &password,
            &password,
            &(extra_data.len() as u16).to_be_bytes(),
            extra_data,
            // TPM_ALG_NULL: the scheme that the signing key is bound to.
            &[0x00, 0x10],
        ]
        .concat();
        let size = (10 + body.len() as u32).to_be_bytes();
        self.write("command", &[&[0x80, 0x02][..], &size, &[0, 0, 0x01, 0x48], &body].concat());
        self.tool("tpm2_send -o @response @command");
        // TPM_RC_RETRY: the first use of an object without noDA is written down first.
        if self.read("response")[6..10] == [0, 0, 0x09, 0x22] {
            self.tool("tpm2_send -o @response @command");
        }
        let response = self.read("response");
        assert_eq!(response[6..10], [0; 4], "TPM2_Certify");
        let parameters_len = u32::from_be_bytes(response[10..14].try_into().unwrap()) as usize;
        let parameters = &response[14..14 + parameters_len];
        let attest_len = usize::from(u16::from_be_bytes([parameters[0], parameters[1]]));
        let (attest, signature) = parameters[2..].split_at(attest_len);
        (attest.to_vec(), signature.to_vec())
    }

    fn resolve(&self, argument: &str) -> String {
        argument.replace('@', &format!("{}/", self.folder.path().display()))
    }
}

/// An object at a persistent handle.
#[derive(Clone)]
pub struct Key {
    pub handle: u32,
    /// TPMT_PUBLIC.
    pub public: Vec<u8>,
    /// As the chip says, for comparison.
    pub name: Vec<u8>,
    /// As the chip says, for comparison.
    pub qualified_name: Vec<u8>,
}

impl Key {
    pub fn context(&self) -> String {
        format!("0x{:08x}", self.handle)
    }

    /// TPM2B_PUBLIC, as the tools read it.
    pub fn sized_public(&self) -> Vec<u8> {
        [&(self.public.len() as u16).to_be_bytes()[..], &self.public].concat()
    }

    pub fn parsed(&self) -> Public {
        Public::parse(&self.public).unwrap()
    }
}
