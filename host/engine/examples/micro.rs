use coshift_engine::kernels::blocked::*;
use std::time::Instant;
fn time(mut f: impl FnMut()) -> f64 {
    for _ in 0..3 { f(); }
    let mut v: Vec<f64> = (0..30).map(|_| { let t = Instant::now(); f(); t.elapsed().as_secs_f64() }).collect();
    v.sort_by(f64::total_cmp); v[10]
}
fn main() {
    for isa in Isa::available() {
        for (p, i, o) in [(56*56,32,128),(28*28,192,48),(28*28,48,288),(196,816,136),(196,136,544),(49,1152,192),(49,192,1152),(1,1152,1536)] {
            let x = vec![Lanes([0.5;16]); blocks(i)*p]; let w = vec![Lanes([0.5;16]); blocks(o)*i];
            let s = vec![Lanes([0.5;16]); blocks(o)]; let mut y = vec![Lanes::ZERO; blocks(o)*p];
            let t = time(|| pointwise_map(isa, &x, (p,i), (&w,i), Affine{scale:&s,shift:&s,activation:None}, None, &mut y));
            println!("{isa} pw {p}x{i}->{o}: {:.1} us {:.1} GMAC/s", t*1e6, (p*i*o) as f64/t/1e9);
        }
        for (c,h,k,s) in [(24,112,3,1),(144,112,5,2),(128,56,5,1),(192,56,3,2),(192,28,7,1),(288,28,3,1),(576,14,7,1),(816,14,5,1),(1152,7,7,1),(1152,7,3,1)] {
            let sh = DepthwiseShape{blocks:blocks(c),height:h,width:h,kernel:k,stride:s};
            let x = vec![Lanes([0.5;16]); blocks(c)*h*h]; let w = vec![Lanes([0.5;16]); blocks(c)*k*k];
            let sc = vec![Lanes([0.5;16]); blocks(c)]; let oh=h.div_ceil(s); let mut y = vec![Lanes::ZERO; blocks(c)*oh*oh];
            let t = time(|| depthwise_map(isa, &x, sh, &w, Affine{scale:&sc,shift:&sc,activation:None}, &mut y, None));
            println!("{isa} dw {c}x{h} k{k} s{s}: {:.1} us {:.1} GMAC/s", t*1e6, (c*oh*oh*k*k) as f64/t/1e9);
        }
    }
}
