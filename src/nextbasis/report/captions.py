"""What each figure of the page shows, in words that need no other text."""

VARIED = "Settings"  # the section of figures of tables that vary one
SECTIONS = {  # title, and the figures in it with their captions
    "Pictures": {
        "same_noise.png": (
            "Samples of each model without and with a learned basis (bold). A column has one "
            "class and one noise."
        ),
        "contact_sheet.png": (
            "Samples of every system, none picked, with the FID of its first seed."
        ),
        "neighbours.png": (
            "Samples, and the training images that are nearest to them in the features that FID "
            "uses. A sample that looks the same as its neighbour may be memorised."
        ),
    },
    "Bases": {
        "first_coefficients.png": (
            "Two test images decoded from their first 1, 2, 4, … coefficients, the others set to "
            "zero, in each basis. Bases in bold were learned here. They start at the order of "
            "tokens of their model (raster for MAR, cells for xAR) and look like it where "
            "training moved them little."
        ),
        "basis_maps.png": (
            "The first rows of each learned A as maps on the grid of tokens (left), and their "
            "difference from the identity (right). Red is positive, blue negative."
        ),
        "energy_profile.png": (
            "Share of the energy of all tokens that the first coefficients of each basis hold. No "
            "orthogonal basis holds more than the KLT."
        ),
        "singular_values.png": (
            "Singular values of each learned A in training, how far A is from its start, and how "
            "far it moved last. An orthogonal A has singular values of 1."
        ),
        "smuggling.png": (
            "Energy of each coefficient (blue), and how much of it the earlier ones leave unknown "
            "(red). Where red is far below blue, the earlier coefficients give this one away."
        ),
        "klt_overlap.png": (
            "How much of the space of the KLT's first k rows the first k rows of each A span: 1 "
            "is all of it, the dashed line is that of random rows."
        ),
    },
    VARIED: {},
    "Training": {
        "loss_curves.png": (
            "Loss of each training as a running mean, a panel for each family. Losses of "
            "different families, or of an A of another scale, do not compare."
        ),
        "fid_overview.png": (
            "FID of every system: measured here, seeds in grey (left), and published for ImageNet "
            "at the papers' scale (right)."
        ),
        "features_pca.png": (
            "Samples (red) and test images (grey) on the first two principal axes of the features "
            "that FID uses. Grey without red is what a model leaves out."
        ),
    },
}
FOREST = (
    "Each measured effect on FID, or on the loss on test images, that a claim rests on: the first "
    "system minus the second, or divided by it (point), the interval that decides (thin line), "
    "that of the claim by itself (thick line), and how far the published effect reaches (grey "
    "band)."
)
