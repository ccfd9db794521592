{# As a text, because Snowflake's page on numbers does not say whether so small a constant is a float or a NUMBER, which
   holds 37 decimal places: the logarithm of 0 stops a build there. #}
{% set least_probability = "cast('1e-300' as double)" %}
with

sums as (

    select * from {{ ref('int_comparison_sums') }}

),

comparisons as (

    select * from {{ ref('int_comparisons') }}

),

templates as (

    select * from {{ ref('int_experiment_templates') }}

),

metrics as (

    select * from {{ ref('int_compared_metrics') }}

),

control_effects as (

    select
        template_id,
        metric,
        design_effect
    from {{ ref('int_design_effects') }}
    where arm = 'control'

),

copies as (

    select
        comparisons.template_id,
        comparisons.arm,
        comparisons.metric,
        case when metrics.good_when = 'down' then -1 else 1 end * comparisons.log_ratio as score,
        {{ own_variance(
            'comparisons.design_effect', '(cast(sums.successes as double) / sums.trials)', 'sums.arm_squares', 'sums.t1'
        ) }} as variance,
        {{ own_variance(
            'coalesce(control_effects.design_effect, 1)',
            '(cast(comparisons.control_successes as double) / comparisons.control_trials)',
            'sums.control_squares',
            'sums.t0',
        ) }} as control_variance
    from comparisons
    inner join sums
        on
            comparisons.template_id = sums.template_id
            and comparisons.arm = sums.arm
            and comparisons.metric = sums.metric
            and comparisons.time_window = sums.time_window
    inner join templates
        on
            comparisons.template_id = templates.template_id
            and comparisons.metric = templates.key_metric
    inner join metrics
        on comparisons.metric = metrics.metric
    left join control_effects
        on
            comparisons.template_id = control_effects.template_id
            and comparisons.metric = control_effects.metric
    where
        comparisons.time_window = 'all'
        and comparisons.arm_type = 'copy'
        and comparisons.error is not null

),

arms as (

    select
        template_id,
        arm,
        score,
        sqrt(variance) as error
    from copies
    where variance > 0

    union all

    select
        template_id,
        'control' as arm,
        cast(0 as double) as score,
        sqrt(cast(sum({{ summable('control_variance') }}) as double) / count(*)) as error
    from copies
    where variance > 0
    group by template_id
    having min(control_variance) > 0

),

points as (

    select
        generated_number as number,
        {{ normal_point('generated_number') }} as point
    from ({{ dbt.generate_series(193) }}) as numbers

),

-- if all trials of control succeeded, its error is unknown, and the best of the copies may be worse than control
controlled as (

    select template_id
    from arms
    where arm = 'control'

),

-- where the arm would be at a point of its own distribution, and how far that is above each other arm
distances as (

    select
        arms.template_id,
        arms.arm,
        points.point,
        (arms.score + arms.error * points.point - others.score) / nullif(others.error, 0) as distance
    from arms
    inner join arms as others
        on
            arms.template_id = others.template_id
            and arms.arm != others.arm
    inner join controlled
        on arms.template_id = controlled.template_id
    cross join points

),

-- a product, as the sum of logarithms
products as (

    select
        template_id,
        arm,
        point,
        exp(cast(
            sum({{ summable('ln(greatest(' ~ normal_cdf('distance') ~ ', ' ~ least_probability ~ '))') }}) as double
        )) as probability
    from distances
    group by template_id, arm, point

),

final as (

    select
        template_id,
        arm,
        cast(sum({{ summable(normal_weight('point') ~ ' * probability') }}) as double) as probability_best
    from products
    group by template_id, arm

)

select * from final
