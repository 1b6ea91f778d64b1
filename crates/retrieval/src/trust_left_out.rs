//! In place of `trust.rs` where `https` is left out: servers are asked by `http` alone, and
//! [`check_reachable`](crate::check_reachable) has refused all others.

use crate::http_agent;
use std::convert::Infallible;
use std::error::Error;
use std::io::{self, Read, Write};
use std::marker::PhantomData;
use std::path::Path;

/// Nobody needs to be believed.
#[derive(Clone, Debug)]
pub struct Trust(());

impl Trust {
    /// Nothing, whatever is said.
    ///
    /// # Errors
    /// None.
    pub fn about(_: &str, _: Option<&Path>) -> Result<Self, String> {
        Ok(Self(()))
    }

    /// Asks by HTTP.
    pub fn agent(&self) -> ureq::Agent {
        http_agent()
    }
}

/// There is none.
#[derive(Debug)]
pub struct Encrypted<S>(Infallible, PhantomData<S>);

impl<S: Read + Write> Encrypted<S> {
    /// Refuses.
    ///
    /// # Errors
    /// Always.
    pub fn begin(_: &Trust, _: &str, _: S) -> io::Result<Self> {
        Err(io::Error::other("`https` is not compiled into this binary"))
    }

    /// What it runs over.
    pub fn stream(&mut self) -> &mut S {
        match self.0 {}
    }
}

impl<S> Read for Encrypted<S> {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}

impl<S> Write for Encrypted<S> {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0 {}
    }
}

/// No error is about certificates.
pub fn why_untrusted(_: &(dyn Error + 'static)) -> Option<String> {
    None
}
