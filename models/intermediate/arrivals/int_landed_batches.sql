{# A run reads the batches that this table holds, so it is built once, before all other models. A full refresh reads
   everything, so nothing is pending then; `this` is none in a unit test, which `dbt build --full-refresh` runs too. Only
   views read what `copymart extract` landed, so its batches wait for no build. #}
with

landed as (

    select * from {{ source('justai', 'landed_batches') }}

),

settings_changes as (

    select * from {{ ref('int_settings_changes') }}

),

trigger_changes as (

    select * from {{ ref('int_trigger_changes') }}

),

consumed as (

    select * from {{ source('copymart', 'consumed_batches') }}

),

built_with as (

    select * from {{ source('copymart', 'built_with') }}

),

batches as (

    select
        batch_id,
        dataset
    from landed
    where dataset != 'customerio_api'

    union all

    select distinct
        batch_id,
        'settings' as dataset
    from settings_changes

    union all

    select distinct
        batch_id,
        'settings' as dataset
    from trigger_changes

),

consumed_by_models as (

    select distinct
        model,
        batch_id
    from consumed
    where model in ({{ incremental_models() }})

),

-- the first build of a model reads everything; a model that was built before anything landed has read no batch
built_models as (

    select count(distinct model) as model_count
    from built_with
    where model in ({{ incremental_models() }})

),

consumptions as (

    select
        batch_id,
        count(*) as model_count
    from consumed_by_models
    group by batch_id

),

final as (

    select
        batches.batch_id,
        batches.dataset,
        built_models.model_count > coalesce(consumptions.model_count, 0)
        {%- if flags.FULL_REFRESH and this is not none %} and false{% endif %} as is_pending,
        '{{ invocation_id }}' as invocation_id
    from batches
    cross join built_models
    left join consumptions
        on batches.batch_id = consumptions.batch_id

)

select * from final
