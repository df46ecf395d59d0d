"""The U-Net on one page: what a forward pass showed is what is drawn."""

import pytest
import torch
from matplotlib import pyplot as plt

from minisd import UNet
from minisd.teaching.u_drawing import dial, field_tree, fields, resnet_block, skip_list, u_shape, watch

CONFIG = {
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": [8, 16, 24],
    "layers_per_block": 2,
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "cross_attention_dim": 6,
    "attention_head_dim": 2,
    "norm_num_groups": 4,
}


def small():
    return UNet(CONFIG), (torch.zeros(1, 4, 16, 12), 5, torch.zeros(1, 2, 6))


def test_the_skips_are_those_of_the_forward_pass():
    unet, inputs = small()
    down, up, middle = watch(unet, inputs)
    assert [one.skip for one in up if one.skip >= 0] == list(range(len(down)))[::-1]
    for one in up:
        assert one.skip < 0 or down[one.skip].shape[1:] == one.shape[1:]
    assert middle.shape == (24, 4, 3)
    drawn = sum(one.weights for one in (*down, *up, middle))
    outside = sum(
        p.numel()
        for part in (unet.time_embedding, unet.conv_norm_out, unet.conv_out)
        for p in part.parameters()
    )
    assert drawn + outside == sum(p.numel() for p in unet.parameters())


def test_each_box_says_what_it_makes():
    unet, inputs = small()
    words = [text.get_text() for text in u_shape(unet, *inputs).texts]
    assert any(word.startswith("conv_in → 8 × 16 × 12 ") for word in words)
    assert any(word.startswith("24 + 24 → ResNet → 24 × 4 × 3 ") for word in words)
    assert any(word.startswith("16 + 8 → ResNet + words → 16 × 8 × 6 ") for word in words)
    assert sum("double →" in word for word in words) == 2 == sum("halve →" in word for word in words)


def test_the_list_of_skips_is_filled_and_emptied():
    unet, inputs = small()
    axes = skip_list(unet, *inputs)
    names = [text.get_text() for text in axes.texts if "×" not in text.get_text()]
    assert names[0] == "conv_in" and "middle" in names and names[-1] == "ResNet"
    down, up, _ = watch(unet, inputs)
    held = [*range(1, len(down) + 1), len(down)]  # boxes drawn in each column, a taken one included
    left = len(down)
    for one in up:
        held.append(left)
        left -= one.skip >= 0
    assert len(axes.patches) == sum(held) and left == 0
    assert sum(frame.get_linestyle() == "--" for frame in axes.patches) == len(down)


def test_nothing_of_the_watching_stays():
    unet, inputs = small()
    watch(unet, inputs)
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in unet.modules())


def test_a_block_is_drawn_in_the_order_of_its_parts():
    words = [text.get_text() for text in resnet_block().texts if text.get_text()]
    assert words[:9] == ["h", "norm₁", "SiLU", "conv₁", "+", "norm₂", "SiLU", "conv₂", "+"]
    assert r"$\tau$" in words[9]


def test_fields_are_drawn_to_scale():
    fields(8, {"first": (5, 3), "second": (12, 5)})
    for axes, widths in zip(plt.gcf().axes, ((8, 5, 3), (8, 12, 5)), strict=True):
        assert tuple(patch.get_width() for patch in axes.patches) == widths


def test_the_hands_of_a_clock_point_where_the_time_is():
    axes = plt.subplots()[1]
    dial(axes, 10, (0, 5, 2.5))
    hands = [line.get_xydata()[1] for line in axes.lines if len(line.get_xydata()) == 2]
    for hand, (x, y) in zip(hands, ((0.55, 0), (-0.8, 0), (0, 1)), strict=True):
        assert hand == pytest.approx((x, y), abs=1e-9)


def test_a_tree_reaches_as_far_as_the_field():
    axes = field_tree([3, 3, 3], [1, 2, 1])
    words = [text.get_text() for text in axes.texts]
    assert words[:4] == ["output: 1 number", "3 numbers, 2 apart", "7 numbers", "input: 9 numbers"]
    assert [word[-1] for word in words[4:]] == ["4", "2", "2"]
    assert sum(len(line.get_xydata()) == 2 for line in axes.lines) == 3 + 9 + 21
