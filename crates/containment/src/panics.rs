//! Libraries that panic on some input from elsewhere (found by fuzzing): the panic becomes an error
//! like any other.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static CONTAINED: Cell<bool> = const { Cell::new(false) };
}

/// Runs a library's work on input that is not ours. Nothing that `work` was changing is used after
/// a panic.
///
/// ```
/// use paretopo_containment::contained;
///
/// let divisor = 0;
/// assert_eq!(contained(|| 4), Ok(4));
/// let panic = contained(|| assert!(divisor != 0, "divided by {divisor}"));
/// assert_eq!(panic, Err("divided by 0".to_owned()));
/// ```
///
/// # Errors
/// The message of a panic.
pub fn contained<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let before = CONTAINED.replace(true);
    let result = catch_unwind(AssertUnwindSafe(work));
    CONTAINED.set(before);
    result.map_err(|panic| {
        let text = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        text.unwrap_or("it gave up").to_owned()
    })
}

/// Keeps this process's panic hook from hearing of panics that become errors.
pub fn silence_contained_panics() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !CONTAINED.get() {
            hook(panic);
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_become_messages() {
        assert_eq!(contained(|| 4), Ok(4));
        let divisor = 0;
        assert_eq!(
            contained(|| assert!(divisor != 0, "divided by {divisor}")),
            Err("divided by 0".into())
        );
        assert_eq!(
            contained(|| {
                assert!(CONTAINED.get());
                contained(|| ()).is_ok() && CONTAINED.get()
            }),
            Ok(true)
        );
        assert!(!CONTAINED.get());
    }
}
