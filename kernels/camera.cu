// Camera frame to network input in one pass: colour conversion, crop, antialiased resize, normalisation.
//
// Each sample is converted to RGB and clamped before it is averaged (chroma is taken from the 2 x 2 block the sample
// lies in), so a frame gives the same input whichever format it arrives in. The crop box lies in device memory:
// a captured graph follows a moving box.
#include "resample.cuh"

enum Format { RGB24 = 0, NV12 = 1, I420 = 2 };

// Conversion of 8-bit YCbCr: luma = (Y - luma_offset) * luma_gain; R = luma + red_v * (Cr - 128) and so on.
struct Colour {
    float luma_offset, luma_gain, red_v, green_u, green_v, blue_u;
};

DEVICE float clamp_byte(float v) { return fminf(fmaxf(v, 0.f), 255.f); }

DEVICE void rgb_at(const unsigned char* frame, int format, int H, int W, int y, int x, const Colour& k, float* rgb) {
    const long long area = (long long)H * W;
    if (format == RGB24) {
        const unsigned char* p = frame + ((long long)y * W + x) * 3;
        for (int c = 0; c < 3; ++c) rgb[c] = p[c];
        return;
    }
    const long long block = (long long)(y >> 1) * (W >> 1) + (x >> 1);
    const unsigned char* chroma = frame + area;
    const float u = (format == NV12 ? chroma[2 * block] : chroma[block]) - 128.f;
    const float v = (format == NV12 ? chroma[2 * block + 1] : chroma[area / 4 + block]) - 128.f;
    const float luma = (frame[(long long)y * W + x] - k.luma_offset) * k.luma_gain;
    rgb[0] = clamp_byte(luma + k.red_v * v);
    rgb[1] = clamp_byte(luma + k.green_u * u + k.green_v * v);
    rgb[2] = clamp_byte(luma + k.blue_u * u);
}

// box: left, top, right, bottom in pixels of the frame. out: strides in elements.
template <typename T>
DEVICE void preprocess(const unsigned char* __restrict__ frame, int format, int H, int W,
                       const float* __restrict__ box, T* __restrict__ out, long long channel, long long row,
                       long long column, int out_h, int out_w, int mirror, const Colour& colour, const float* gain,
                       const float* offset) {
    const int ox = blockIdx.x * blockDim.x + threadIdx.x, oy = blockIdx.y * blockDim.y + threadIdx.y;
    if (ox >= out_w || oy >= out_h) return;
    const float left = box ? box[0] : 0.f, top = box ? box[1] : 0.f;
    const float right = box ? box[2] : (float)W, bottom = box ? box[3] : (float)H;
    const Taps tx(ox, left, (right - left) / out_w, W), ty(oy, top, (bottom - top) / out_h, H);

    float sum[3] = {0.f, 0.f, 0.f};
    for (int y = ty.first; y <= ty.last; ++y) {
        float line[3] = {0.f, 0.f, 0.f};
        for (int x = tx.first; x <= tx.last; ++x) {
            float rgb[3];
            rgb_at(frame, format, H, W, y, x, colour, rgb);
            for (int c = 0; c < 3; ++c) line[c] += tx.weight(x) * rgb[c];
        }
        for (int c = 0; c < 3; ++c) sum[c] += ty.weight(y) * line[c];
    }
    const long long at = oy * row + (mirror ? out_w - 1 - ox : ox) * column;
    for (int c = 0; c < 3; ++c)
        narrow(sum[c] * (tx.inverse_total * ty.inverse_total) * gain[c] + offset[c], out[at + c * channel]);
}

#define PREPROCESS(NAME, T)                                                                                          \
    extern "C" __global__ void __launch_bounds__(256)                                                                \
        NAME(const unsigned char* frame, int format, int H, int W, const float* box, T* out, long long channel,      \
             long long row, long long column, int out_h, int out_w, int mirror, float luma_offset, float luma_gain,  \
             float red_v, float green_u, float green_v, float blue_u, float gain_r, float gain_g, float gain_b,      \
             float offset_r, float offset_g, float offset_b) {                                                       \
        const Colour colour = {luma_offset, luma_gain, red_v, green_u, green_v, blue_u};                             \
        const float gain[3] = {gain_r, gain_g, gain_b}, offset[3] = {offset_r, offset_g, offset_b};                  \
        preprocess<T>(frame, format, H, W, box, out, channel, row, column, out_h, out_w, mirror, colour, gain,       \
                      offset);                                                                                       \
    }                                                                                                                \
    EXPORT(NAME)

PREPROCESS(preprocess_f16, half16)
PREPROCESS(preprocess_f32, float)
