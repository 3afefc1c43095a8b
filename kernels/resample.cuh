// Antialiased resampling with a triangle filter, the rule of Pillow's and torch's "bilinear, antialias" resize:
// result i is centred on start + (i + 0.5) * ratio and reaches max(ratio, 1) samples to both sides; weights are
// normalised over the samples that exist. A position outside the picture shows the nearest sample of its border.
#pragma once
#include "common.cuh"

struct Taps {
    int first, last;
    float centre, inverse_reach, inverse_total;

    DEVICE Taps(int i, float start, float ratio, int n) {
        const float reach = fmaxf(ratio, 1.f);
        centre = start + (i + 0.5f) * ratio;
        inverse_reach = 1.f / reach;
        first = imax(0, (int)ceilf(centre - reach - 0.5f));
        last = imin(n - 1, (int)floorf(centre + reach - 0.5f));
        float total = 0.f;
        for (int j = first; j <= last; ++j) total += weight(j);
        if (!(total > 1e-6f)) {
            first = last = clampi((int)floorf(centre), 0, n - 1);
            inverse_reach = 0.f;  // weight 1
            total = 1.f;
        }
        inverse_total = 1.f / total;
    }
    DEVICE float weight(int j) const { return fmaxf(0.f, 1.f - fabsf(j + 0.5f - centre) * inverse_reach); }
};
