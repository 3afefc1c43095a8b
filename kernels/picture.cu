// Network output to a picture in one pass: resize, feathered paste-back into the portrait, 8-bit RGB, NV12 or I420.
//
// YCbCr is BT.709, limited range (ITU-R BT.709-6, tables 3 and 4), chroma is the mean of its 2 x 2 block.
#include "resample.cuh"

enum Format { RGB24 = 0, NV12 = 1, I420 = 2 };

struct Paste {
    const unsigned char* background;  // RGB24 of the size of the result, or null: nothing around the network's square
    float left, top, right, bottom;   // where the square lies in the result, pixels
    float feather;                    // width of the ramp inside the square's edge, pixels
};

// 0 outside the square, 1 from `feather` inside its edge on. An edge on or beyond the picture's border does not fade.
DEVICE float coverage(const Paste& p, int x, int y, int width, int height) {
    const float cx = x + 0.5f, cy = y + 0.5f;
    if (cx < p.left || cx >= p.right || cy < p.top || cy >= p.bottom) return 0.f;
    float depth = 3.4e38f;
    if (p.left > 0.f) depth = fminf(depth, cx - p.left);
    if (p.top > 0.f) depth = fminf(depth, cy - p.top);
    if (p.right < width) depth = fminf(depth, p.right - cx);
    if (p.bottom < height) depth = fminf(depth, p.bottom - cy);
    return p.feather > 0.f ? fminf(depth / p.feather, 1.f) : 1.f;
}

// Colour of one pixel of the result, 0..255, not rounded.
template <typename T>
DEVICE void colour_at(const T* x, long long channel, long long row, long long column, int H, int W, const Paste& paste,
                      int px, int py, int width, int height, float gain, float offset, float* rgb) {
    const float cover = paste.background ? coverage(paste, px, py, width, height) : 1.f;
    float behind[3] = {0.f, 0.f, 0.f};
    if (cover < 1.f)
        for (int c = 0; c < 3; ++c) behind[c] = paste.background[((long long)py * width + px) * 3 + c];
    for (int c = 0; c < 3; ++c) rgb[c] = behind[c];
    if (cover <= 0.f) return;

    const float ratio_x = W / (paste.right - paste.left), ratio_y = H / (paste.bottom - paste.top);
    const Taps tx(px, -paste.left * ratio_x, ratio_x, W), ty(py, -paste.top * ratio_y, ratio_y, H);
    float sum[3] = {0.f, 0.f, 0.f};
    for (int j = ty.first; j <= ty.last; ++j)
        for (int i = tx.first; i <= tx.last; ++i) {
            const float w = tx.weight(i) * ty.weight(j);
            for (int c = 0; c < 3; ++c) sum[c] += w * widen(x[j * row + i * column + c * channel]);
        }
    for (int c = 0; c < 3; ++c) {
        float v = sum[c] * (tx.inverse_total * ty.inverse_total) * gain + offset;
        v = v >= 0.f ? fminf(v, 255.f) : 0.f;  // not a number becomes black
        rgb[c] = cover * v + (1.f - cover) * behind[c];
    }
}

DEVICE unsigned char to_byte(float v) { return (unsigned char)fminf(fmaxf(rintf(v), 0.f), 255.f); }

// One thread makes one pixel (RGB24) or one 2 x 2 block (NV12, I420). box null: the square fills the result.
template <typename T>
DEVICE void postprocess(const T* __restrict__ x, long long channel, long long row, long long column, int H, int W,
                        const unsigned char* __restrict__ background, const float* __restrict__ box, float feather,
                        unsigned char* __restrict__ out, int format, int width, int height, float gain, float offset) {
    const int step = format == RGB24 ? 1 : 2;
    const int px = step * (blockIdx.x * blockDim.x + threadIdx.x), py = step * (blockIdx.y * blockDim.y + threadIdx.y);
    if (px >= width || py >= height) return;
    Paste paste = {background, 0.f, 0.f, (float)width, (float)height, feather};
    if (box) {
        paste.left = box[0];
        paste.top = box[1];
        paste.right = box[2];
        paste.bottom = box[3];
    }
    float rgb[3];
    if (format == RGB24) {
        colour_at(x, channel, row, column, H, W, paste, px, py, width, height, gain, offset, rgb);
        for (int c = 0; c < 3; ++c) out[((long long)py * width + px) * 3 + c] = to_byte(rgb[c]);
        return;
    }
    const long long area = (long long)width * height;
    float u = 0.f, v = 0.f;
    for (int k = 0; k < 4; ++k) {
        const int qx = px + (k & 1), qy = py + (k >> 1);
        colour_at(x, channel, row, column, H, W, paste, qx, qy, width, height, gain, offset, rgb);
        const float luma = 0.2126f * rgb[0] + 0.7152f * rgb[1] + 0.0722f * rgb[2];
        out[(long long)qy * width + qx] = to_byte(16.f + luma * (219.f / 255.f));
        u += 0.25f * (rgb[2] - luma);
        v += 0.25f * (rgb[0] - luma);
    }
    const unsigned char cb = to_byte(128.f + u * (224.f / 255.f / 1.8556f));
    const unsigned char cr = to_byte(128.f + v * (224.f / 255.f / 1.5748f));
    const long long block = (long long)(py >> 1) * (width >> 1) + (px >> 1);
    if (format == NV12) {
        out[area + 2 * block] = cb;
        out[area + 2 * block + 1] = cr;
    } else {
        out[area + block] = cb;
        out[area + area / 4 + block] = cr;
    }
}

#define POSTPROCESS(NAME, T)                                                                                         \
    extern "C" __global__ void __launch_bounds__(256)                                                                \
        NAME(const T* x, long long channel, long long row, long long column, int H, int W,                           \
             const unsigned char* background, const float* box, float feather, unsigned char* out, int format,       \
             int width, int height, float gain, float offset) {                                                      \
        postprocess<T>(x, channel, row, column, H, W, background, box, feather, out, format, width, height, gain,    \
                       offset);                                                                                      \
    }                                                                                                                \
    EXPORT(NAME)

POSTPROCESS(postprocess_f16, half16)
POSTPROCESS(postprocess_f32, float)
