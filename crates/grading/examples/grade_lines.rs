//! Grades lines of `GOLD<tab>ANSWER` from standard input: a line of `1` for each pair that means
//! the same, else `0`. U+0002 stands for a line break.

use paretopo_grading::answers_equal;
use std::io::BufRead;

fn main() -> std::io::Result<()> {
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (gold, answer) = line.split_once('\t').unwrap_or((&line, ""));
        let broken = |text: &str| text.replace('\u{2}', "\n");
        println!("{}", u8::from(answers_equal(&broken(gold), &broken(answer))));
    }
    Ok(())
}
