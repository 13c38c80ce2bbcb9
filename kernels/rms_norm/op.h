// RMSNorm (Zhang & Sennrich, "Root Mean Square Layer Normalization", 2019) as differentiable ops:
//   y = x * rstd * weight,  rstd = 1 / sqrt(mean(x^2) + eps)  over each row.
// Inputs are contiguous f32, bf16 or f64; weights are f32 (f64 for f64 inputs), and so are their
// gradients. No op saves its normed output; a consumer that needs it does, but for
// rms_norm_linear, whose backward makes it again.
#pragma once

#include <optional>

#include "core/autograd/op.h"

namespace tessera {

// x [R, C], weight [C] -> [R, C]. Saves x, weight and rstd [R].
Var rms_norm(Context& ctx, const Var& x, const Var& weight, float eps);

struct AddNorm {
  Var sum;     // [R, C]: x + residual
  Var normed;  // [R, C]: rms_norm(sum) * weight
};

// Adds and normalises in one pass. Saves the sum, weight and rstd [R]. Backward gives x and
// residual one gradient tensor, which takes the place of the gradient of `sum` (or else of
// `normed`) if nothing else holds that one.
AddNorm add_rms_norm(Context& ctx, const Var& x, const Var& residual, const Var& weight, float eps);

struct NormLinear {
  Var sum;  // [R, C]: x + residual; x itself where there is no residual
  Var y;    // [R, out]
};

// Adds the residual, if there is one, normalises, and applies a linear layer:
//   y = rms_norm(sum, norm_weight) W^T (+ bias).  weight [out, C] like x; bias [out] like
// norm_weight. Saves the sum, both weights and rstd [R], but not the normed rows: backward makes
// them again in the pass that computes the gradient of the sum, in the place of their own
// gradient. The gradients of x and residual are as those of add_rms_norm.
NormLinear rms_norm_linear(Context& ctx, const Var& x, const std::optional<Var>& residual,
                           const Var& norm_weight, const Var& weight,
                           const std::optional<Var>& bias, float eps);

// Normalises every head of q and k in qkv [N, (heads + 2 kv_heads) D], whose columns are the q
// heads, the k heads, the v heads; v is copied. q_weight and k_weight [D]. Saves qkv, both weights
// and the rstd of all heads.
Var qk_norm(Context& ctx, const Var& qkv, const Var& q_weight, const Var& k_weight, int64_t heads,
            int64_t kv_heads, float eps);

}  // namespace tessera
