fn main() {
    println!("ripgrep 14.1.1");
}
