//! Grades lines of `GOLD<tab>ANSWER` from standard input: a line of `1` for each pair that means
//! the same, else `0`. U+0002 stands for a line break.

use paretopo_grading::answers_equal;
use std::io::{BufRead, Write};

fn main() -> std::io::Result<()> {
    let mut verdicts = std::io::BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let line = line?.replace('\u{2}', "\n");
        let (gold, answer) = line.split_once('\t').unwrap_or((&line, ""));
        writeln!(verdicts, "{}", u8::from(answers_equal(gold, answer)))?;
    }
    verdicts.flush()
}
