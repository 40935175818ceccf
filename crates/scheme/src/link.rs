//! Enrolment links: one string that an operator hands over, with all that a device needs.
//!
//! `https://trade.example.com/#server=<hex>&least=<sequence>&code=<code>`. What follows the `#`
//! is never sent to the web server when somebody opens the link in a browser by mistake.

use std::fmt;

use crate::Reason;
use crate::enrol::CODE_MAX;
use crate::id::ServerId;

/// The longest link, bytes.
const LINK_MAX: usize = 1024;

/// An enrolment link taken apart.
#[derive(Clone, PartialEq, Eq)]
pub struct Link {
    /// Scheme, host, port and path; `http` or `https`. The courier's business.
    pub url: String,
    /// The server to pin.
    pub server_id: ServerId,
    /// The least acceptable sequence of a `server_keys` statement.
    pub least_sequence: u64,
    /// Single-use code, where the operator gave one.
    pub code: Option<String>,
}

impl std::str::FromStr for Link {
    type Err = Reason;

    fn from_str(text: &str) -> Result<Link, Reason> {
        let bad = Reason::BadLink;
        let (url, fragment) = text.trim().split_once('#').ok_or(bad)?;
        let host = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let plain = |c: char| c.is_ascii_graphic();
        if text.len() > LINK_MAX
            || host.is_none_or(|h| h.is_empty() || h.starts_with('/') || h.contains('@'))
            || !url.chars().all(plain)
            || !fragment.chars().all(plain)
        {
            return Err(bad);
        }
        let (mut server_id, mut least_sequence, mut code) = (None, None, None);
        for part in fragment.split('&') {
            match part.split_once('=').ok_or(bad)? {
                ("server", id) if server_id.is_none() => {
                    server_id = Some(id.parse().map_err(|_| bad)?);
                }
                ("least", n) if least_sequence.is_none() => {
                    least_sequence = Some(n.parse().map_err(|_| bad)?);
                }
                ("code", c) if code.is_none() && (1..=CODE_MAX).contains(&c.len()) => {
                    code = Some(c.to_owned());
                }
                _ => return Err(bad),
            }
        }
        let link = Link {
            url: url.trim_end_matches('/').to_owned(),
            server_id: server_id.ok_or(bad)?,
            least_sequence: least_sequence.ok_or(bad)?,
            code,
        };
        // It is kept as it is written down again, which can be longer by the slash.
        if link.to_string().len() > LINK_MAX { Err(bad) } else { Ok(link) }
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/#server={}&least={}", self.url, self.server_id, self.least_sequence)?;
        self.code.iter().try_for_each(|code| write!(f, "&code={code}"))
    }
}

/// Shows no code: it is a secret until it is used.
impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Link({}, {})", self.url, self.server_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_survives_being_written_down() {
        let id = ServerId([0xab; 32]);
        for code in [None, Some("K7QX-2M9P".to_owned())] {
            let url = "https://trade.example.com:8443".to_owned();
            let link = Link { url, server_id: id, least_sequence: 1_760_000_000, code };
            assert_eq!(link.to_string().parse(), Ok(link));
        }
    }

    #[test]
    fn anything_else_is_not_a_link() {
        let id = ServerId([0xab; 32]);
        let good = format!("http://localhost/#server={id}&least=1&code=X");
        assert!(good.parse::<Link>().is_ok());
        for bad in [
            String::new(),
            good.replace("http:", "ftp:"),
            good.replace("localhost", ""),
            good.replace("localhost", "user@localhost"),
            good.replace("#", "?"),
            good.replace("server=ab", "server="),
            good.replace("&least=1", ""),
            good.replace("least=1", "least=-1"),
            format!("{good}&code=Y"),
            good.replace("server=", "server=0&server="),
            good.replace("code=X", &format!("code={}", "X".repeat(65))),
            format!("{good}&more=1"),
            good.replace("localhost", "local host"),
            good.replace("localhost/", &"h".repeat(1024 - (good.len() - "localhost/".len()))),
        ] {
            assert_eq!(bad.parse::<Link>(), Err(Reason::BadLink), "{bad}");
        }
    }
}
