//! The program answers and grades, without a configuration or a command line of ours.

use std::process::Command;

#[test]
fn sums_are_answered_and_graded() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/tiny-math");
    let mut command = Command::new(env!("CARGO_BIN_EXE_paretopo-example-library"));
    let output = command.args([folder, "7+8=15", "9-4=5", "7+8=30/2", "3+4=8"]).output();
    let output = output.expect("the program starts");
    let said = String::from_utf8(output.stdout).expect("text");
    let wanted = "\\boxed{15}<|end|>  right\n\\boxed{5}<|end|>  right\n\
                  \\boxed{15}<|end|>  right\n\\boxed{7}<|end|>  wrong\n";
    assert_eq!(said, wanted, "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_is_no_pair_is_refused() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paretopo-example-library"));
    let output = command.args(["models/tiny-math", "7+8"]).output().expect("the program starts");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("a question is written `7+8=15`"));
}
