//! Nothing but its manifest. The default build turns on features of small libraries (`serde_core`,
//! `libc`, `syn`) that the math experiments need none of; cargo then compiles all that stands on
//! them a second time, burn included. Turned on here, they are the same in both, and `just test`
//! goes on with what `just exp-math` has compiled.
