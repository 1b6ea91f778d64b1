//! The project's tests beyond single files: parity with other implementations, the agent, resuming,
//! layering, the command line.
//!
//! One crate and one binary, so that the generic code is compiled for one backend once. Tests that
//! need data beside the checkout (`../shared`), or a browser, are listed as ignored without it.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod adapters;
mod agent;
mod ahead;
mod book;
mod browser;
mod chat_families;
mod chat_turns;
mod checkpoints;
mod command_line;
mod comparing;
mod concepts;
mod configurations;
mod conversations;
mod dashboards;
#[cfg(target_os = "linux")]
mod enclosed;
mod encrypted;
mod experts;
mod figures;
mod fused;
mod generators;
mod grading;
mod half_precision;
mod health;
mod hub;
mod hybrid;
mod inspect;
mod launching;
mod layering;
#[cfg(target_os = "linux")]
mod mcp_servers;
mod memory;
mod methods;
mod mpi;
mod numbers;
mod objectives;
mod openenv;
mod openings;
#[cfg(target_os = "linux")]
mod out_of_memory;
#[cfg(target_os = "linux")]
mod outside;
mod packed;
mod parity_algorithms;
mod parity_models;
mod parity_shared;
#[cfg(target_os = "linux")]
mod programs;
mod prompts;
mod python_tool;
mod ranks;
mod recorded;
mod reference;
mod refusals;
mod replies;
mod resuming;
#[cfg(target_os = "linux")]
mod sandbox;
mod scripted;
mod scripted_generator;
mod search;
mod serving;
mod sessions;
mod settings;
mod several;
mod soups;
mod statistics;
#[cfg(target_os = "linux")]
mod streams;
mod support;
mod text_files;
mod told;
mod tutorial;
#[cfg(unix)]
mod unattended;
#[cfg(target_os = "linux")]
mod walls;
mod webdriver;

use support::*;
