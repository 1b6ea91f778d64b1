//! Whose word is taken that a server is who it says, where it is asked by `https` or `wss`: that of
//! the authorities which this machine trusts, or of those in a file and no others.
//!
//! What a machine trusts is what its system keeps; `SSL_CERT_FILE` and `SSL_CERT_DIR` say otherwise.
//! Where there is nothing, as in small containers, it is Mozilla's list, which is compiled in. TLS is
//! rustls with ring. Left out: certificates of clients, and lists of what was revoked.

use crate::remote::{is_encrypted, usual_settings};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{CertificateError, ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use std::error::Error;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

/// Whom to believe about one server.
#[derive(Clone, Debug)]
pub struct Trust {
    roots: RootCerts,
    tls: Arc<ClientConfig>,
}

impl Trust {
    /// About the server at `url`: the authorities of `ca_file` (PEM) and no others, or without one
    /// those that this machine trusts. A server that is not asked by `https` or `wss` is believed
    /// without, and nothing is read for it.
    ///
    /// # Errors
    /// When the file cannot be read, or holds no certificate.
    pub fn about(url: &str, ca_file: Option<&Path>) -> Result<Self, String> {
        let certificates = match (is_encrypted(url), ca_file) {
            (false, _) => return Self::built(RootCerts::WebPki, RootCertStore::empty()),
            (true, Some(file)) => authorities(file)?,
            (true, None) => rustls_native_certs::load_native_certs().certs,
        };
        if certificates.is_empty() {
            let roots = webpki_roots::TLS_SERVER_ROOTS.to_vec();
            return Self::built(RootCerts::WebPki, RootCertStore { roots });
        }
        let for_ureq = certificates.iter().map(|one| Certificate::from_der(one).to_owned());
        let roots = RootCerts::from(for_ureq.collect::<Vec<_>>());
        let mut store = RootCertStore::empty();
        let (taken, _) = store.add_parsable_certificates(certificates);
        match (ca_file, taken) {
            (Some(file), 0) => Err(format!("`{}` holds no sound certificate", file.display())),
            _ => Self::built(roots, store),
        }
    }

    fn built(roots: RootCerts, store: RootCertStore) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("no TLS: {error}"))?;
        let tls = versions.with_root_certificates(store).with_no_client_auth();
        Ok(Self { roots, tls: Arc::new(tls) })
    }

    /// Asks by HTTP, as [`http_agent`](crate::http_agent) does.
    pub fn agent(&self) -> ureq::Agent {
        let tls = TlsConfig::builder().root_certs(self.roots.clone()).build();
        usual_settings().tls_config(tls).build().into()
    }

    /// The same for libraries that take settings of rustls.
    pub fn tls(&self) -> ClientConfig {
        (*self.tls).clone()
    }
}

/// The certificates of a file.
fn authorities(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let said = |error: rustls::pki_types::pem::Error| format!("`{}`: {error}", file.display());
    let found = CertificateDer::pem_file_iter(file).map_err(said)?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(said)?;
    match found.is_empty() {
        true => Err(format!(
            "`{}` holds no certificate\nhint: it is to hold some as PEM, `-----BEGIN \
             CERTIFICATE-----`",
            file.display()
        )),
        false => Ok(found),
    }
}

/// A connection that is encrypted, over any stream; reading and writing last as long as the stream's
/// do.
#[derive(Debug)]
pub struct Encrypted<S: Read + Write>(StreamOwned<ClientConnection, S>);

impl<S: Read + Write> Encrypted<S> {
    /// Shakes hands with `host`, a name or an address without a port.
    ///
    /// # Errors
    /// When the stream fails, or the server is not to be believed; [`why_untrusted`] has words.
    pub fn begin(trust: &Trust, host: &str, stream: S) -> io::Result<Self> {
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare).map_err(io::Error::other)?;
        let connection =
            ClientConnection::new(trust.tls.clone(), name).map_err(io::Error::other)?;
        let mut own = StreamOwned::new(connection, stream);
        while own.conn.is_handshaking() {
            own.conn.complete_io(&mut own.sock)?;
        }
        Ok(Self(own))
    }

    /// What it runs over.
    pub fn stream(&mut self) -> &mut S {
        &mut self.0.sock
    }
}

impl<S: Read + Write> Read for Encrypted<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<S: Read + Write> Write for Encrypted<S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Why there was no encrypted connection, in words; `None` for any other failure.
pub fn why_untrusted(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(reason) = error.downcast_ref::<rustls::Error>() {
            return Some(words(reason));
        }
        // what these two hold is not their source
        let inner = error.downcast_ref::<io::Error>().map(io::Error::get_ref);
        next = match (inner, error.downcast_ref::<ureq::Error>()) {
            (Some(held), _) => held.map(|held| held as &(dyn Error + 'static)),
            (_, Some(ureq::Error::Io(held))) => Some(held),
            (_, Some(ureq::Error::Rustls(held))) => Some(held),
            _ => error.source(),
        };
    }
    None
}

fn words(reason: &rustls::Error) -> String {
    let rustls::Error::InvalidCertificate(refused) = reason else {
        return match reason {
            rustls::Error::InvalidMessage(_) => {
                "what it answers is no TLS\nhint: a server without \
                                                 it is asked by `http://`"
                    .into()
            }
            other => format!("no encrypted connection: {other}"),
        };
    };
    match refused {
        // an authority of the same name has another key
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "its certificate is signed by no authority that is \
                                            trusted here\nhint: `ca_file` names a file with the \
                                            authority of your own (PEM)"
                .into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "its certificate is for another name than the one in the address".into()
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "its certificate has expired".into()
        }
        other => format!("its certificate is refused: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("own.pem");
        let said = |url: &str| Trust::about(url, Some(&file)).err();
        let missing = said("https://host").unwrap();
        assert!(missing.starts_with(&format!("`{}`: ", file.display())), "{missing}");
        std::fs::write(&file, "no PEM at all").unwrap();
        assert!(said("wss://host").unwrap().contains("holds no certificate\nhint: "));
        let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        std::fs::write(&file, nonsense).unwrap();
        assert!(said("HTTPS://host").unwrap().ends_with("holds no sound certificate"));
        // nothing is read for a server that is asked without
        assert_eq!(said("http://host"), None);
    }

    #[test]
    fn an_error_that_is_about_something_else_has_no_words_of_ours() {
        let other = io::Error::other("the disk is full");
        assert_eq!(why_untrusted(&other), None);
        let refused = rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer);
        let held = ureq::Error::Io(io::Error::new(io::ErrorKind::InvalidData, refused));
        assert!(why_untrusted(&held).unwrap().contains("hint: `ca_file`"));
    }
}
